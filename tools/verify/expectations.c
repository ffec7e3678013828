/*
 * Expectations. Job: words and files into the values that a verdict compares. Trusts its own user's
 * files, if nobody else can change them. Must never ignore input that it cannot parse.
 */
#include "tools/verify/expectations.h"

#include "crypto/base/encode.h"
#include "crypto/key_io.h"
#include "crypto/name.h"
#include "fs/aws/kms_arn.h"

#include <errno.h>
#include <string.h>

static int no_memory(struct error *err)
{
	return error_set(err, -ENOMEM, "out of memory");
}

int expectations_init(struct expectations *e, struct cli *cli, struct error *err)
{
	*e = (struct expectations){.cli = cli, .req = {.pcr = PCR_DEFAULT, .attest = "nitrotpm"}};
	return owner_keys_new(&e->owners) < 0 ? no_memory(err) : 0;
}

void expectations_clear(struct expectations *e)
{
	for (size_t i = 0; i < e->req.model_count; i++)
		free((char *)(uintptr_t)e->models[i].label);
	for (size_t i = 0; i < e->seal_count; i++)
		seal_free(e->seals[i]);
	for (size_t i = 0; i < e->set_count; i++)
		set_free(e->sets[i]);
	for (size_t i = 0; i < e->owner_name_count; i++)
		free(e->owner_names[i]);
	for (size_t i = 0; i < e->req.kms_key_count; i++)
		free(e->kms_keys[i]);
	free(e->kms_keys);
	free(e->owner_names);
	owner_keys_free(e->owners);
	free(e->seals);
	free(e->sets);
	free(e->members);
	free(e->models);
	free(e->boot);
	free(e->root);
	*e = (struct expectations){.cli = NULL};
}

int expect_root(struct expectations *e, const char *path, struct error *err)
{
	_cleanup_secret_ struct secret *text = NULL;
	size_t size = 0;
	int r;

	if (e->root)
		return error_set(err, -EINVAL, "%s: a root was given already", path);
	r = key_io_read(path, TRUST_UNCHANGED, &text, err);
	if (r < 0)
		return r;
	r = verdict_root_parse(secret_data(text), secret_size(text), &e->root, &size);
	if (r == -ENOMEM)
		return no_memory(err);
	if (r < 0)
		return error_set(err, -EINVAL, "%s is not a certificate, PEM or DER", path);
	e->req.root = (struct bytes_view){e->root, size};
	return 0;
}

int expect_boot_value(struct expectations *e, const struct verdict_boot *value, struct error *err)
{
	struct verdict_boot *more = reallocarray(e->boot, e->req.boot_count + 1, sizeof(*more));

	if (!more)
		return no_memory(err);
	e->req.boot = e->boot = more;
	more[e->req.boot_count++] = *value;
	return 0;
}

static int add_boot(struct expectations *e, unsigned pcr, const uint8_t *value, struct error *err)
{
	struct verdict_boot boot = {.pcr = pcr};

	memcpy(boot.value, value, sizeof(boot.value));
	return expect_boot_value(e, &boot, err);
}

int expect_pcr(struct expectations *e, const char *text, struct error *err)
{
	uint8_t value[MEASUREMENTS_PCR_SIZE];
	const char *hex = strchr(text, '=');
	char number[4] = "";
	uint64_t pcr;

	if (hex && (size_t)(hex - text) < sizeof(number))
		memcpy(number, text, (size_t)(hex - text));
	if (!hex || number_parse(number, 10, DOCUMENT_PCRS_MAX - 1, &pcr) < 0 ||
	    strlen(hex + 1) != 2 * sizeof(value) || hex_decode(hex + 1, value, sizeof(value)) < 0)
		return error_set(err, -EINVAL,
				 "--pcr \"%s\" is not N=HEX with N from 0 to 31 and 96 digits",
				 text);
	return add_boot(e, (unsigned)pcr, value, err);
}

int expect_measurements(struct expectations *e, const char *path, struct error *err)
{
	struct measurements m;
	int r = measurements_read(path, &m, err);

	if (r < 0)
		return r;
	if (m.present[4] && !m.present[12]) {
		memset(m.value[12], 0, sizeof(m.value[12]));
		m.present[12] = true;
	}
	for (unsigned pcr = 0; r == 0 && pcr < MEASUREMENTS_PCRS; pcr++)
		if (m.present[pcr])
			r = add_boot(e, pcr, m.value[pcr], err);
	return r;
}

int expect_mode(struct expectations *e, const char *word, struct error *err)
{
	enum measure_mode mode;

	if (measure_mode_parse(word, &mode) < 0 || mode == MEASURE_NONE)
		return error_set(err, -EINVAL,
				 "--measure must be verity, declared, set, sha384 or sha256");
	e->req.modes |= 1U << mode;
	return 0;
}

int expect_model_pcr(struct expectations *e, const char *text, struct error *err)
{
	uint64_t pcr;

	if (number_parse(text, 10, 15, &pcr) < 0)
		return error_set(err, -EINVAL, "the models' PCR is 0 to 15, not \"%s\"", text);
	e->req.pcr = (unsigned)pcr;
	e->has_pcr = true;
	return 0;
}

int expect_kms_key(struct expectations *e, const char *pin, struct error *err)
{
	int r = kms_pin_check(pin, err);
	char **more;

	if (r < 0)
		return r;
	more = reallocarray(e->kms_keys, e->req.kms_key_count + 1, sizeof(*more));
	if (!more)
		return no_memory(err);
	e->req.kms_keys = e->kms_keys = more;
	more[e->req.kms_key_count] = strdup(pin);
	if (!more[e->req.kms_key_count])
		return no_memory(err);
	e->req.kms_key_count++;
	return 0;
}

/* "acme" for keys/acme.pub */
static char *name_of_file(const char *path)
{
	static const char *const ends[] = {".pub", ".pem"};
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
	size_t size = strlen(base);

	for (size_t i = 0; i < ARRAY_LEN(ends); i++)
		if (size > strlen(ends[i]) && strcmp(base + size - strlen(ends[i]), ends[i]) == 0)
			return strndup(base, size - strlen(ends[i]));
	return strdup(base);
}

int expect_owner(struct expectations *e, const char *text, struct error *err)
{
	const char *equals = strchr(text, '='), *slash = strchr(text, '/');
	bool named = equals && equals > text && (!slash || equals < slash);
	const char *path = named ? equals + 1 : text;
	char **more = reallocarray(e->owner_names, e->owner_name_count + 1, sizeof(*more));
	int r;

	if (!more)
		return no_memory(err);
	e->owner_names = more;
	r = owner_keys_add_file(e->owners, path, err);
	if (r < 0)
		return r;
	more[e->owner_name_count] =
		named ? strndup(text, (size_t)(equals - text)) : name_of_file(path);
	if (!more[e->owner_name_count])
		return no_memory(err);
	e->owner_name_count++;
	return 0;
}

int expectations_judge(const struct expectations *e, const struct presented *evidence,
		       const struct occasion *when, struct verdict **ret, struct error *err)
{
	struct verdict_request req = e->req;
	size_t count = e->seal_count + evidence->seal_count;
	size_t set_count = e->set_count + evidence->set_count;
	_cleanup_free_ struct seal **seals = calloc(count + 1, sizeof(struct seal *));
	_cleanup_free_ struct set **sets = calloc(set_count + 1, sizeof(struct set *));

	if (!seals || !sets)
		return no_memory(err);
	for (size_t i = 0; i < set_count; i++)
		sets[i] = i < e->set_count ? e->sets[i] : evidence->sets[i - e->set_count];
	for (size_t i = 0; i < count; i++)
		seals[i] = i < e->seal_count ? e->seals[i] : evidence->seals[i - e->seal_count];
	req.document = evidence->document;
	req.event_log = evidence->event_log;
	req.systemd_log = evidence->systemd_log;
	req.time_s = when->time_s;
	req.nonce = when->nonce;
	req.tls_key = when->tls_key;
	req.seals = seals;
	req.seal_count = count;
	req.sets = sets;
	req.set_count = set_count;
	req.owners = e->owners;
	req.owner_names = (const char *const *)e->owner_names;
	return verdict_judge(&req, ret, err);
}
