/*
 * sealctl policy: a key policy from measurements and ARNs. What is printed has passed the linter.
 */
#include "attest/measurements.h"
#include "crypto/base/encode.h"
#include "crypto/base/json.h"
#include "fs/keypolicy/generate.h"
#include "fs/keypolicy/lint.h"
#include "tools/common/output.h"
#include "tools/policy/policy_parts.h"

#include <errno.h>
#include <string.h>

static int add_image(json_t *pcrs, const struct measurements *m)
{
	char index[4], hex[2 * MEASUREMENTS_PCR_SIZE + 1];

	for (unsigned i = 0; i < MEASUREMENTS_PCRS; i++) {
		json_t *values;

		if (!m->present[i])
			continue;
		(void)snprintf(index, sizeof(index), "%u", i);
		hex_encode(m->value[i], MEASUREMENTS_PCR_SIZE, hex);
		values = json_object_get(pcrs, index);
		if (!values) {
			values = json_array();
			if (json_object_set_new(pcrs, index, values) < 0)
				return -ENOMEM;
		}
		if (json_array_append_new(values, json_string(hex)) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* Every image has every PCR that the policy pins: a PCR of one alone would lock the others out. */
static int check_image(const struct measurements *m, bool enclave, const char *path,
		       const struct measurements *first, struct error *err)
{
	static const unsigned nitrotpm[] = {4, 7, 12}, inside[] = {0, 1, 2};
	const unsigned *needed = enclave ? inside : nitrotpm;

	for (size_t i = 0; i < ARRAY_LEN(nitrotpm); i++) {
		if (m->present[needed[i]])
			continue;
		error_hint(err, "%s",
			   enclave && m->present[4] ? "these are a machine's: leave out --enclave"
			   : !enclave && m->present[0] ? "these are an enclave's: give --enclave"
			   : needed[i] == 12	       ? "nitro-tpm-pcr-compute prints it since "
							 "version 1.1.0"
						       : "give what the image's builder printed");
		return error_set(err, -EINVAL, "%s: there is no PCR %u in it", path, needed[i]);
	}
	if (enclave && m->present[8] != first->present[8])
		return error_set(err, -EINVAL,
				 "%s: PCR 8 is in some of the files only: signed and unsigned "
				 "enclaves need policies of their own",
				 path);
	return 0;
}

static int read_images(const struct policy_settings *s, json_t *pcrs, struct error *err)
{
	struct measurements first = {0};

	for (size_t i = 0; i < s->measurement_count; i++) {
		struct measurements m;
		int r = measurements_read(s->measurements[i], &m, err);

		if (r == 0 && i == 0)
			first = m;
		if (r == 0)
			r = check_image(&m, s->enclave, s->measurements[i], &first, err);
		if (r == 0)
			r = add_image(pcrs, &m);
		if (r < 0)
			return r;
	}
	return 0;
}

/* An account as owner can be a hole, for example, when the runtime role belongs to it. */
static int check_made(const char *text, struct error *err)
{
	_cleanup_(keypolicy_freep) struct keypolicy *p = NULL;
	_cleanup_free_ struct keypolicy_holes *holes = calloc(1, sizeof(*holes));
	int r = keypolicy_parse(text, strlen(text), "the policy", &p, err);

	if (!holes)
		return -ENOMEM;
	if (r == 0)
		r = keypolicy_lint(p, holes, err);
	if (r < 0 || holes->count == 0)
		return r;
	error_hint(err, "%s", keypolicy_hole_cure(holes->list[0].kind));
	return error_set(err, -EINVAL, "the policy would have a hole: it %s (%s)",
			 keypolicy_hole_text(holes->list[0].kind), holes->list[0].who);
}

int policy_make(struct cli *cli, const struct policy_settings *s, struct error *err)
{
	_cleanup_json_ json_t *pcrs = json_object();
	_cleanup_free_ char *text = NULL;
	const struct keypolicy_recipe recipe = {.owners = {s->owners, s->owner_count},
						.sealers = {s->sealers, s->sealer_count},
						.roles = {s->roles, s->role_count},
						.enclave = s->enclave,
						.pcrs = pcrs};
	int r = read_images(s, pcrs, err);

	if (r == 0)
		r = keypolicy_generate(&recipe, &text, err);
	if (r == 0)
		r = check_made(text, err);
	if (r < 0)
		return r;
	/* The same with --json: a policy is JSON. Nothing in it comes unchecked from outside. */
	return puts(text) < 0 ? -EIO : 0;
}
