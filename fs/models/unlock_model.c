/*
 * Unlocking one model. Job: do the steps in their order and stop at the first that fails. Trusts
 * the view for names and versions only: what it knows of the seal is compared with the seal that is
 * unlocked. Must return no file before the measurement has succeeded.
 */
#include "fs/models/unlock_model.h"

#include "crypto/base/log.h"
#include "crypto/failure.h"

#include <errno.h>
#include <string.h>

struct opening {
	const struct models_options *o;
	const struct view_node *file;
	char *label;		     /* the seal object's name for messages */
	struct source_object object; /* the seal */
	struct seal *seal;
	struct seal_keys *keys;
	struct source_object payload;
	char *payload_label;
};

struct head {
	size_t size;
	uint8_t bytes[SEAL_HEAD_MAX];
};

static void opening_clear(struct opening *s)
{
	source_object_clear(&s->payload);
	source_object_clear(&s->object);
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

/* A set states what its members' seals state; one that was made up must not state anything else. */
static int compare_statements(const struct opening *s, struct error *err)
{
	const struct set_member *m = s->file->member;
	const struct seal_core *core = seal_core(s->seal);

	if (m->length == core->length &&
	    memcmp(m->file_id, core->file_id, sizeof(m->file_id)) == 0 &&
	    memcmp(m->sha256, core->sha256, sizeof(m->sha256)) == 0 &&
	    memcmp(m->sha384, core->sha384, sizeof(m->sha384)) == 0 &&
	    memcmp(m->verity, core->verity, sizeof(m->verity)) == 0)
		return 0;
	return seal_fail(err, SEAL_WRONG_MEMBER, s->label,
			 "its seal states another length, digest or file id than the set");
}

static int fetch_member(struct opening *s, struct head *head, struct error *err)
{
	_cleanup_(view_member_seal_freep) struct view_member_seal *found = NULL;
	int r = view_find_member(s->o->source, mounted_set_get(s->o->set), s->file->member, &found,
				 err);

	if (r == -EBADMSG)
		error_hint(err, "if its owner has written a newer version of the set, reload");
	if (r < 0)
		return r;
	head->size = found->head_size;
	memcpy(head->bytes, found->head, found->head_size);
	s->seal = steal_ptr(found->seal);
	s->object = found->object;
	found->object = (struct source_object){0};
	return compare_statements(s, err);
}

/* Reads the head again, which must be the same as at the mount. */
static int fetch_head(struct opening *s, struct head *head, struct error *err)
{
	const struct view_node *n = s->file;
	uint8_t core[SHA256_SIZE];
	int r;

	/* A seal that is malformed stays so while its version is the same. */
	if (n->broken && (n->broken->code == -EPROTO || n->broken->code == -EBADMSG)) {
		*err = view_fault_of(n);
		return err->code;
	}
	head->size = (size_t)MIN(n->seal.size, (uint64_t)sizeof(head->bytes));
	r = source_read(s->o->source, n->seal.name, n->seal.version, 0, head->size, head->bytes,
			err);
	if (r == -ESTALE)
		error_hint(err, "mount again, or reload, to see the new version");
	if (r == 0)
		r = seal_parse_head(s->label, head->bytes, head->size, n->seal.size, &s->seal, err);
	if (r == 0)
		r = seal_core_hash(s->seal, core);
	if (r == 0)
		r = source_object_make(&s->object, n->seal.name, n->seal.version, n->seal.size, 0);
	if (r < 0)
		return r;
	if (memcmp(core, n->facts.core, sizeof(core)) == 0)
		return 0;
	error_hint(err, "mount again, or reload, to see the new version");
	return error_set(err, -ESTALE, "%s has changed since the mount", s->label);
}

/* Of a member, the set has both the name and the owner's signature, which were checked. */
static int unlock_seal(struct opening *s, struct head *head, struct error *err)
{
	_cleanup_secret_ struct secret *data_key = NULL;
	int r = s->file->member ? fetch_member(s, head, err) : fetch_head(s, head, err);

	if (r == 0 && !s->file->member)
		r = seal_check_name(s->seal, s->file->seal.name, err);
	if (r == 0 && !s->file->member)
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
			 "it has %llu bytes, its seal states %llu",
			 (unsigned long long)s->payload.size, (unsigned long long)s->file->size);
}

/* What was read whole must stay what it was. */
static enum chunk_check check_for(const struct models_options *o)
{
	switch (o->measure) {
	case MEASURE_VERITY:
	case MEASURE_SET:
		return CHUNK_CHECK_VERITY;
	case MEASURE_SHA256:
	case MEASURE_SHA384:
		return CHUNK_CHECK_FINGERPRINT;
	default:
		return o->read_whole ? CHUNK_CHECK_VERITY : CHUNK_CHECK_TAG;
	}
}

/* The plaintext must have the digests that the owner stated. */
static int hash_plaintext(const struct unlocked *u, bool both, struct model_digests *ret,
			  struct error *err)
{
	const struct seal_core *core = seal_core(u->seal);
	int r = read_file_use(u->plain, NULL, 0, err);

	if (r < 0)
		return r;
	r = read_file_hash(u->plain, ret->sha256, both ? ret->sha384 : NULL, err);
	read_file_unuse(u->plain);
	if (r == -ENOKEY) {
		error_hint(err,
			   "in the modes sha384 and sha256 its digest could be that of another "
			   "event; use measure=verity");
		return error_prefix(err, r, "%s cannot be measured by its bare digest", u->label);
	}
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

/* Only the digests that the mode measures (attest/PCRS.md); the others stay zero and are not
 * claimed. */
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

int unlocked_claim(const struct unlocked *u, enum measure_mode mode, struct measure_event *ret,
		   struct error *err)
{
	ret->mode = mode;
	return find_digests(u, mode, &ret->digests, err);
}

static void note_measurement(const struct models_options *o, const struct measure_event *event,
			     bool earlier, struct measurement *ret)
{
	*ret = (struct measurement){
		.done = true,
		.mode = event->mode,
		.pcr = o->measure_options.pcr,
		.earlier = earlier,
	};
	if (measure_text(event->mode, &event->digests, ret->event) < 0)
		ret->event[0] = '\0';
}

static int measure(const struct unlocked *u, const struct models_options *o,
		   const struct view_node *file, const void *key, struct measurement *ret,
		   struct error *err)
{
	struct measured_model model = {.key = key, .event.name = file->path};
	bool earlier = false;
	int r;

	if (o->measure == MEASURE_NONE)
		return 0;
	if (o->measure == MEASURE_SET)
		model = mounted_set_claim(o->set);
	r = o->measure == MEASURE_SET ? 0 : unlocked_claim(u, o->measure, &model.event, err);
	if (r == 0)
		r = measured_add(o->measured, &model, 1, err);
	/* The set is there since another member was opened, and the PCR may have changed. */
	if (r == 0 && o->measure == MEASURE_SET)
		r = measured_check(o->measured, err);
	if (r == -ENODEV)
		error_hint(err, "on a machine without a TPM mount with -o measure=none");
	if (r < 0)
		return r;
	(void)measured_has(o->measured, model.key, &earlier);
	if (o->measure == MEASURE_SET)
		mounted_set_note_measured(o->set, o->measured);
	if (ret)
		note_measurement(o, &model.event, earlier, ret);
	log_info("%s: measured (%s) into PCR %u%s", file->path, measure_mode_name(o->measure),
		 o->measure_options.pcr, earlier ? ", by an earlier open since boot" : "");
	return 0;
}

static int make_file(struct opening *s, struct read_file **ret, struct error *err)
{
	struct read_file_options options = {
		.source = s->o->source,
		.check = check_for(s->o),
		.payload_name = s->payload.name,
		.version = s->payload.version,
		.label = s->payload_label,
		.seal_name = s->object.name,
		.seal_version = s->object.version,
		.seal_later = s->file->member ? s->file->seal.name : NULL,
		.seal = steal_ptr(s->seal),
		.keys = steal_ptr(s->keys),
		.refused_beginning =
			measure_mode_is_bare(s->o->measure) ? MEASURE_TEXT_PREFIX : NULL,
	};

	return read_file_new(s->o->engine, &options, ret, err);
}

int unlock_model(const struct models_options *o, const struct view_node *file,
		 struct unlocked **ret, struct error *err)
{
	_cleanup_(opening_clear) struct opening s = {.o = o, .file = file};
	_cleanup_(unlocked_freep) struct unlocked *u = calloc(1, sizeof(*u));
	_cleanup_free_ struct head *head = malloc(sizeof(*head));
	int r;

	s.label = source_describe(o->source, file->seal.name);
	if (!u || !head || !s.label)
		return -ENOMEM;
	r = unlock_seal(&s, head, err);
	if (r == 0)
		r = find_payload(&s, err);
	if (r < 0)
		return r;
	u->seal = s.seal;
	r = make_file(&s, &u->plain, err);
	/* The tables may take gigabytes. They are read only now that the slot MAC has shown that
	 * the sealer wants so, and that a payload of that size exists. They stay until others need
	 * the memory. */
	if (r == 0)
		/* NOLINTNEXTLINE */
		r = read_file_use(u->plain, head->bytes, head->size, err);
	if (r < 0)
		return r;
	read_file_unuse(u->plain);
	u->label = steal_ptr(s.label);
	*ret = steal_ptr(u);
	return 0;
}

void unlocked_set_target(struct unlocked *u, void *target)
{
	read_file_set_target(u->plain, target);
}

const struct seal *unlocked_seal(const struct unlocked *u)
{
	return u->seal;
}

int unlocked_measure(struct unlocked *u, const struct models_options *o,
		     const struct view_node *file, const void *key, struct read_file **ret,
		     struct measurement *ret_measured, struct error *err)
{
	struct model_digests digests;
	int r = o->read_whole && !measure_mode_is_bare(o->measure)
			? hash_plaintext(u, false, &digests, err)
			: 0;

	if (r == 0)
		r = measure(u, o, file, key, ret_measured, err);
	if (r == 0)
		*ret = steal_ptr(u->plain);
	unlocked_free(u);
	return r;
}
