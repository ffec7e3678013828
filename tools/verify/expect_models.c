/*
 * Expected models. Job: digests, seals and plaintexts as models and heads of seals. Trusts the
 * files that the user names; a seal in them is believed no more than one from elsewhere when owner
 * keys are asked for.
 */
#include "tools/inspect/hash_input.h"
#include "tools/inspect/predict.h"
#include "tools/verify/expectations.h"

#include "crypto/base/encode.h"
#include "crypto/name.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static const struct {
	const char *prefix;
	unsigned kind;
	size_t size;
	size_t at; /* in struct model_digests */
} kinds[] = {
	{"sha256:", DIGEST_OF_SHA256, 32, offsetof(struct model_digests, sha256)},
	{"sha384:", DIGEST_OF_SHA384, 48, offsetof(struct model_digests, sha384)},
	{"verity:", DIGEST_OF_VERITY, 32, offsetof(struct model_digests, verity)},
	{"set:", DIGEST_OF_SET, 32, offsetof(struct model_digests, set)},
};

/* label is copied; NULL: none. */
static int add_model(struct expectations *e, const char *label, unsigned which,
		     const struct model_digests *digests, struct error *err)
{
	struct verdict_model *more = reallocarray(e->models, e->req.model_count + 1, sizeof(*more));
	char *copy = label ? strdup(label) : NULL;

	if (more)
		e->req.models = e->models = more;
	if (!more || (label && !copy)) {
		free(copy);
		return error_set(err, -ENOMEM, "out of memory");
	}
	more[e->req.model_count++] =
		(struct verdict_model){.label = copy, .kinds = which, .digests = *digests};
	return 0;
}

/* seal is taken. */
static int add_seal(struct expectations *e, struct seal *seal, struct error *err)
{
	struct seal **more = reallocarray(e->seals, e->seal_count + 1, sizeof(struct seal *));

	if (!more) {
		seal_free(seal);
		return error_set(err, -ENOMEM, "out of memory");
	}
	e->seals = more;
	more[e->seal_count++] = seal;
	return 0;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

/* 1: it is a digest. */
static int take_digest(struct expectations *e, const char *text, struct error *err)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct model_digests digests = {0};
		const char *hex = text + strlen(kinds[i].prefix);
		int r;

		if (strncmp(text, kinds[i].prefix, strlen(kinds[i].prefix)) != 0)
			continue;
		if (strlen(hex) != 2 * kinds[i].size ||
		    hex_decode(hex, (uint8_t *)&digests + kinds[i].at, kinds[i].size) < 0)
			return error_set(err, -EINVAL, "\"%s\" does not have %zu hex digits", text,
					 2 * kinds[i].size);
		r = add_model(e, NULL, kinds[i].kind, &digests, err);
		return r < 0 ? r : 1;
	}
	return 0;
}

static bool is_sealed(const char *path)
{
	struct stat st;

	return source_spec_is_s3(path) || name_is_seal(path) ||
	       (stat(path, &st) == 0 && S_ISDIR(st.st_mode));
}

/* set is taken. */
static int add_set(struct expectations *e, struct set *set, struct error *err)
{
	const struct set_header *header = set_header(set);
	struct set **more = reallocarray(e->sets, e->set_count + 1, sizeof(struct set *));
	struct model_digests digests = {0};

	if (!more) {
		set_free(set);
		return error_set(err, -ENOMEM, "out of memory");
	}
	e->sets = more;
	more[e->set_count++] = set;
	memcpy(digests.set, header->content, sizeof(digests.set));
	return add_model(e, header->name, DIGEST_OF_SET, &digests, err);
}

/* One seal, or all of a source. as_models: they are expected, too, and a source's set is one model.
 */
static int take_sealed(struct expectations *e, const char *path, bool as_models, struct error *err)
{
	_cleanup_(owner_keys_freep) struct owner_keys *nobody = NULL;
	_cleanup_prediction_ struct prediction found = {.keep_seals = true,
							.without_set = !as_models};
	_cleanup_target_ struct target t = {0};
	int r;

	if (!e->cli)
		return error_set(err, -EINVAL, "%s: seals cannot be read here", path);
	r = owner_keys_new(&nobody);
	found.facts.owners = nobody;
	if (r == 0)
		r = target_open(e->cli, path, &t, err);
	if (r == 0)
		r = predict_add_target(&found, path, &t, err);
	predict_sort(&found); /* as ready=measured has it */
	if (r == 0 && found.set)
		return add_set(e, steal_ptr(found.set), err);
	for (size_t i = 0; r == 0 && i < found.count; i++) {
		struct predicted_model *m = &found.models[i];
		const char *label = t.name ? base_name(m->path) : seal_core(m->seal)->path;

		if (as_models)
			r = add_model(e, label,
				      DIGEST_OF_SHA256 | DIGEST_OF_SHA384 | DIGEST_OF_VERITY,
				      &m->digests, err);
		if (r == 0)
			r = add_seal(e, steal_ptr(m->seal), err);
	}
	return r < 0 ? error_set(err, r, "%s: %s", path, strerror(-r)) : 0;
}

static int take_plaintext(struct expectations *e, const char *path, struct error *err)
{
	struct input_digests found = {0};
	int r = hash_path(path, path, !e->cli || e->cli->quiet, &found, err);

	if (r < 0)
		return r;
	return add_model(e, base_name(path), DIGEST_OF_SHA256 | DIGEST_OF_SHA384 | DIGEST_OF_VERITY,
			 &found.digests, err);
}

int expect_model(struct expectations *e, const char *text, struct error *err)
{
	int r = take_digest(e, text, err);

	if (r != 0)
		return MIN(r, 0);
	return is_sealed(text) ? take_sealed(e, text, true, err) : take_plaintext(e, text, err);
}

int expect_member(struct expectations *e, const char *path, struct error *err)
{
	const char **more = reallocarray(e->members, e->req.member_count + 1, sizeof(*more));

	if (!more)
		return error_set(err, -ENOMEM, "out of memory");
	e->req.members = e->members = more;
	more[e->req.member_count++] = path;
	return 0;
}

int expect_seal(struct expectations *e, const char *path, struct error *err)
{
	return take_sealed(e, path, false, err);
}
