/*
 * Unlocking one model. Job: take the steps in their order and let nothing through that failed one.
 * Trusts the view for names and versions only: what it knows of the seal is compared with the
 * seal that is unlocked. Must return no file before the measurement has succeeded.
 */
#include "fs/unlock_model.h"

#include "crypto/base/log.h"
#include "crypto/failure.h"

#include <errno.h>
#include <string.h>

struct opening {
	const struct models_options *o;
	const struct view_node *file;
	char *label; /* the seal object's name for messages */
	struct seal *seal;
	struct seal_keys *keys;
	struct source_object payload;
	char *payload_label;
};

static void opening_clear(struct opening *s)
{
	source_object_clear(&s->payload);
	free(s->payload_label);
	seal_keys_free(s->keys);
	seal_free(s->seal);
	free(s->label);
}

struct unlocked {
	char *label;
	const struct seal *seal; /* plain's */
	struct read_file *plain;
};

void unlocked_free(struct unlocked *u)
{
	if (!u)
		return;
	read_file_free(u->plain);
	free(u->label);
	free(u);
}

static int fetch_seal(struct opening *s, struct error *err)
{
	const struct view_node *n = s->file;
	_cleanup_free_ uint8_t *bytes = NULL;
	const struct seal_core *core;
	int r;

	/* The verdict on a seal's own bytes does not change while its version is the same. */
	if (n->broken && (n->broken->code == -EPROTO || n->broken->code == -EBADMSG)) {
		*err = *n->broken;
		return err->code;
	}
	if (n->seal.size > seal_object_size(n->size, SEAL_SLOTS_MAX))
		return seal_fail(err, SEAL_MALFORMED, s->label, "%llu bytes are too many",
				 (unsigned long long)n->seal.size);
	bytes = malloc((size_t)n->seal.size + 1);
	if (!bytes)
		return -ENOMEM;
	r = source_read(s->o->source, n->seal.name, n->seal.version, 0, (size_t)n->seal.size, bytes,
			err);
	if (r == -ESTALE)
		error_hint(err, "mount again to see the new version");
	if (r == 0)
		r = seal_parse(s->label, bytes, (size_t)n->seal.size, &s->seal, err);
	if (r < 0)
		return r;
	core = seal_core(s->seal);
	if (core->length == n->size &&
	    memcmp(core->file_id, n->facts.file_id, sizeof(core->file_id)) == 0 &&
	    memcmp(core->sha256, n->facts.sha256, sizeof(core->sha256)) == 0 &&
	    memcmp(core->verity, n->facts.verity, sizeof(core->verity)) == 0)
		return 0;
	error_hint(err, "mount again to see the new version");
	return error_set(err, -ESTALE, "%s is not the seal that was there at mount", s->label);
}

static int unlock_seal(struct opening *s, struct error *err)
{
	_cleanup_secret_ struct secret *data_key = NULL;
	int r = seal_check_name(s->seal, s->file->seal.name, err);

	if (r == 0)
		r = seal_check_owner(s->seal, s->o->owners, err);
	if (r == 0)
		r = unlock_data_key(s->o->unlock, s->seal, s->label, &data_key, err);
	return r < 0 ? r : seal_unlock(s->seal, data_key, &s->keys, err);
}

static int find_payload(struct opening *s, struct error *err)
{
	_cleanup_free_ char *name = NULL;
	int r = seal_payload_name(s->seal, s->file->seal.name, &name);

	if (r < 0)
		return r;
	r = source_stat(s->o->source, name, &s->payload, err);
	if (r == -ENOENT)
		error_hint(err, "the model's payload is missing; seal and upload it again");
	if (r < 0)
		return r;
	s->payload_label = source_describe(s->o->source, name);
	if (!s->payload_label)
		return -ENOMEM;
	if (s->payload.size == s->file->size)
		return 0;
	return seal_fail(err, SEAL_BAD_PAYLOAD_SIZE, s->payload_label,
			 "it has %llu bytes, its seal says %llu",
			 (unsigned long long)s->payload.size, (unsigned long long)s->file->size);
}

static enum chunk_check check_for(enum measure_mode mode)
{
	switch (mode) {
	case MEASURE_VERITY:
		return CHUNK_CHECK_VERITY;
	case MEASURE_SHA256:
	case MEASURE_SHA384:
		return CHUNK_CHECK_FINGERPRINT;
	default:
		return CHUNK_CHECK_TAG;
	}
}

/* The flat modes: what the owner stated must be what is there. */
static int hash_plaintext(const struct unlocked *u, bool both, struct model_digests *ret,
			  struct error *err)
{
	const struct seal_core *core = seal_core(u->seal);
	int r = read_file_hash(u->plain, ret->sha256, both ? ret->sha384 : NULL, err);

	if (r < 0)
		return r;
	if (memcmp(ret->sha256, core->sha256, sizeof(core->sha256)) != 0)
		return seal_fail(err, SEAL_BAD_DIGEST, u->label,
				 "the plaintext does not have the SHA-256 that the seal states");
	if (both && memcmp(ret->sha384, core->sha384, sizeof(core->sha384)) != 0)
		return seal_fail(err, SEAL_BAD_DIGEST, u->label,
				 "the plaintext does not have the SHA-384 that the seal states");
	return 0;
}

/* Those that the mode measures (attest/PCRS.md) and no others: what stays zero is not claimed. */
static int find_digests(const struct unlocked *u, enum measure_mode mode, struct model_digests *ret,
			struct error *err)
{
	const struct seal_core *core = seal_core(u->seal);

	switch (mode) {
	case MEASURE_VERITY:
		memcpy(ret->verity, core->verity, sizeof(core->verity));
		return 0;
	case MEASURE_SHA256:
	case MEASURE_SHA384:
		return hash_plaintext(u, mode == MEASURE_SHA384, ret, err);
	case MEASURE_DECLARED:
		memcpy(ret->sha256, core->sha256, sizeof(core->sha256));
		memcpy(ret->sha384, core->sha384, sizeof(core->sha384));
		return 0;
	default:
		return -EINVAL;
	}
}

static void note_measurement(const struct measure_event *event, enum measure_outcome outcome,
			     struct measurement *ret)
{
	*ret = (struct measurement){
		.done = true,
		.mode = event->mode,
		.pcr = event->pcr,
		.earlier = outcome == MEASURE_ALREADY,
	};
	if (measure_text(event->mode, &event->digests, ret->event) < 0)
		ret->event[0] = '\0';
}

static int measure(const struct unlocked *u, const struct models_options *o,
		   const struct view_node *file, struct measurement *ret, struct error *err)
{
	struct measure_event event = {.pcr = o->pcr, .mode = o->measure, .name = file->path};
	enum measure_outcome outcome = MEASURE_EXTENDED;
	int r;

	if (o->measure == MEASURE_NONE)
		return 0;
	r = find_digests(u, o->measure, &event.digests, err);
	if (r == 0)
		r = measure_model(&o->measure_options, &event, &outcome, err);
	if (r == -ENODEV)
		error_hint(err, "on a machine without a TPM mount with -o measure=none");
	if (r < 0)
		return r;
	if (ret)
		note_measurement(&event, outcome, ret);
	log_info("%s: measured (%s) into PCR %u%s", file->path, measure_mode_name(event.mode),
		 event.pcr, outcome == MEASURE_ALREADY ? ", by an earlier open since boot" : "");
	return 0;
}

static int make_file(struct opening *s, struct read_file **ret, struct error *err)
{
	struct read_file_options options = {
		.source = s->o->source,
		.check = check_for(s->o->measure),
		.payload_name = s->payload.name,
		.version = s->payload.version,
		.label = s->payload_label,
		.seal = steal_ptr(s->seal),
		.keys = steal_ptr(s->keys),
	};

	return read_file_new(s->o->engine, &options, ret, err);
}

int unlock_model(const struct models_options *o, const struct view_node *file,
		 struct unlocked **ret, struct error *err)
{
	_cleanup_(opening_clear) struct opening s = {.o = o, .file = file};
	_cleanup_(unlocked_freep) struct unlocked *u = calloc(1, sizeof(*u));
	int r;

	s.label = source_describe(o->source, file->seal.name);
	if (!u || !s.label)
		return -ENOMEM;
	r = fetch_seal(&s, err);
	if (r == 0)
		r = unlock_seal(&s, err);
	if (r == 0)
		r = find_payload(&s, err);
	if (r < 0)
		return r;
	u->seal = s.seal;
	r = make_file(&s, &u->plain, err);
	if (r < 0)
		return r;
	u->label = steal_ptr(s.label);
	*ret = steal_ptr(u);
	return 0;
}

void unlocked_set_target(struct unlocked *u, void *target)
{
	read_file_set_target(u->plain, target);
}

int unlocked_measure(struct unlocked *u, const struct models_options *o,
		     const struct view_node *file, struct read_file **ret,
		     struct measurement *ret_measured, struct error *err)
{
	int r = measure(u, o, file, ret_measured, err);

	if (r == 0)
		*ret = steal_ptr(u->plain);
	unlocked_free(u);
	return r;
}
