/*
 * Predicted PCR values. Job: the arithmetic of attest/PCRS.md over a list of models, and digests
 * from seals. Trusts a seal only as far as its owner's signature covers it, and refuses a seal
 * under a wrong name, which no mount would serve. Must never need a key or a TPM.
 */
#include "tools/inspect/predict.h"

#include "crypto/base/log.h"
#include "crypto/name.h"
#include "crypto/seal.h"
#include "fs/formats/ollama_description.h"
#include "tools/set/set_store.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const enum measure_mode modes[] = {MEASURE_SET, MEASURE_VERITY, MEASURE_DECLARED,
					  MEASURE_SHA384, MEASURE_SHA256};
static const enum digest_alg banks[] = {DIGEST_SHA1, DIGEST_SHA256, DIGEST_SHA384, DIGEST_SHA512};

int predict_add(struct prediction *p, const char *path, const struct model_digests *digests,
		bool is_event_text)
{
	struct predicted_model *more = reallocarray(p->models, p->count + 1, sizeof(*more));

	if (!more)
		return -ENOMEM;
	p->models = more;
	more[p->count] = (struct predicted_model){
		.path = strdup(path), .digests = *digests, .is_event_text = is_event_text};
	if (!more[p->count].path)
		return -ENOMEM;
	p->count++;
	return 0;
}

static int read_core(const struct prediction *p, const struct target *t, const char *name,
		     struct model_digests *ret, struct seal **ret_seal, struct error *err)
{
	struct source *source = t->source;
	_cleanup_free_ char *label = source_describe(source, name);
	_cleanup_(source_object_clear) struct source_object o = {0};
	_cleanup_seal_ struct seal *seal = NULL;
	const struct seal_core *core;
	int r = label ? source_stat(source, name, &o, err) : -ENOMEM;

	if (r == 0)
		r = target_read_head(source, &o, label, &seal, err);
	if (r == 0)
		r = seal_check_name(seal, target_found_name(t, name), err);
	if (r == 0)
		r = seal_check_owner(seal, p->facts.owners, err);
	if (r < 0)
		return r;
	core = seal_core(seal);
	memcpy(ret->verity, core->verity, sizeof(ret->verity));
	memcpy(ret->sha256, core->sha256, sizeof(ret->sha256));
	memcpy(ret->sha384, core->sha384, sizeof(ret->sha384));
	if (p->keep_seals)
		*ret_seal = steal_ptr(seal);
	return 0;
}

/* path: of the seal, as the user gave it. */
static int add_seal(struct prediction *p, const struct target *t, const char *name, char *path,
		    struct error *err)
{
	_cleanup_seal_ struct seal *seal = NULL;
	struct model_digests digests;
	int r = read_core(p, t, name, &digests, &seal, err);

	if (r < 0)
		return r;
	path[strlen(path) - strlen(SEAL_SUFFIX)] = '\0';
	r = predict_add(p, path, &digests, false);
	if (r == 0)
		p->models[p->count - 1].seal = steal_ptr(seal);
	return r;
}

static int compare_object(const void *key, const void *item)
{
	return strcmp(key, ((const struct source_object *)item)->name);
}

/* NAME.ollama beside NAME is shown in no mount and measured in none (fs/view/OLLAMA.md). */
static bool is_description(const struct source_listing *l, const char *name)
{
	static const char end[] = OLLAMA_SUFFIX SEAL_SUFFIX;
	size_t n = strlen(name), suffix = sizeof(end) - 1;
	_cleanup_free_ char *model = NULL;

	if (n <= suffix || strcmp(name + n - suffix, end) != 0)
		return false;
	if (asprintf(&model, "%.*s" SEAL_SUFFIX, (int)(n - suffix), name) < 0) {
		model = NULL;
		return false;
	}
	return bsearch(model, l->objects, l->count, sizeof(*l->objects), compare_object) != NULL;
}

static bool is_named_path(const struct prediction *p, const char *path)
{
	for (size_t i = 0; i < p->name_count; i++)
		if (strcmp(p->names[i], path) == 0)
			return true;
	return p->name_count == 0;
}

/* object: the seal's name in its source. */
static bool is_named(const struct prediction *p, const char *object)
{
	size_t n = strlen(object) - strlen(SEAL_SUFFIX);

	for (size_t i = 0; i < p->name_count; i++)
		if (strlen(p->names[i]) == n && strncmp(p->names[i], object, n) == 0)
			return true;
	return p->name_count == 0;
}

/* A mount measures only the models that it shows. */
static bool is_shown(const char *name, const char *label)
{
	size_t size = strlen(name) - strlen(SEAL_SUFFIX);
	const char *problem = model_path_problem(name, size);

	if (problem)
		log_warning("%s is left out, as a mount does not show it: %s", label, problem);
	return !problem;
}

static int add_all(struct prediction *p, const struct target *t, struct error *err)
{
	struct source *source = t->source;
	_cleanup_(source_listing_clear) struct source_listing l = {0};
	size_t before = p->count;
	int r = source_list(source, NULL, &l, err);

	for (size_t i = 0; r == 0 && i < l.count; i++) {
		_cleanup_free_ char *path = source_describe(source, l.objects[i].name);

		if (!path)
			return -ENOMEM;
		if (name_is_seal(l.objects[i].name) && !is_description(&l, l.objects[i].name) &&
		    is_named(p, l.objects[i].name) && is_shown(l.objects[i].name, path))
			r = add_seal(p, t, l.objects[i].name, path, err);
	}
	if (r == 0 && p->name_count > p->count - before)
		return error_set(err, -ENOENT,
				 "only %zu of the %zu models that the configuration "
				 "names are there",
				 p->count - before, p->name_count);
	if (r == 0 && p->count == before) {
		_cleanup_free_ char *label = source_describe(source, "");

		return error_set(err, -ENOENT, "there is no sealed object in %s",
				 label ? label : "?");
	}
	return r;
}

static bool describes_a_member(const struct set *set, const struct set_member *m)
{
	size_t n = strlen(m->path), suffix = strlen(SET_DESCRIPTION_SUFFIX);
	_cleanup_free_ char *model = n > suffix ? strndup(m->path, n - suffix) : NULL;

	return model && strcmp(m->path + n - suffix, SET_DESCRIPTION_SUFFIX) == 0 &&
	       set_find(set, model);
}

static int add_members(struct prediction *p, struct source *source, struct error *err)
{
	const struct set_member *m;
	int r = 0;

	for (size_t i = 0; r == 0 && (m = set_member(p->set, i)); i++) {
		_cleanup_free_ char *path = source_describe(source, m->path);
		struct model_digests digests;

		if (!path)
			return -ENOMEM;
		memcpy(digests.verity, m->verity, sizeof(digests.verity));
		memcpy(digests.sha256, m->sha256, sizeof(digests.sha256));
		memcpy(digests.sha384, m->sha384, sizeof(digests.sha384));
		if (!describes_a_member(p->set, m) && is_named_path(p, m->path))
			r = predict_add(p, path, &digests, false);
	}
	if (r == 0 && p->count < p->name_count)
		return error_set(err, -ENOENT,
				 "the set has only %zu of the %zu models that the configuration "
				 "names",
				 p->count, p->name_count);
	return r;
}

/* 1: the source has a set. It is taken at its word, like a seal: all of it that the signature
 * covers.
 */
static int add_set(struct prediction *p, struct source *source, struct error *err)
{
	_cleanup_set_store_ struct set_store store = {0};
	struct set_access access = {.owners = p->facts.owners};
	int r = p->without_set ? 0 : set_store_load(&store, source, &access, err);

	if (r < 0 || !store.set)
		return r;
	if (p->count > 0)
		return error_set(err, -EINVAL, "%s: a mount shows one set and nothing else",
				 store.label);
	p->set = steal_ptr(store.set);
	r = add_members(p, source, err);
	return r < 0 ? r : 1;
}

int predict_add_target(struct prediction *p, const char *operand, const struct target *t,
		       struct error *err)
{
	_cleanup_free_ char *path = strdup(operand);
	int r = t->name ? 0 : add_set(p, t->source, err);

	if (!path)
		return -ENOMEM;
	if (r != 0)
		return MIN(r, 0);
	return t->name ? add_seal(p, t, t->name, path, err) : add_all(p, t, err);
}

static int compare_paths(const void *a, const void *b)
{
	return strcmp(((const struct predicted_model *)a)->path,
		      ((const struct predicted_model *)b)->path);
}

void predict_sort(struct prediction *p)
{
	if (p->count > 1)
		qsort(p->models, p->count, sizeof(*p->models), compare_paths);
}

void predict_clear(struct prediction *p)
{
	for (size_t i = 0; i < p->count; i++) {
		free(p->models[i].path);
		seal_free(p->models[i].seal);
	}
	free(p->models);
	set_free(steal_ptr(p->set));
	p->models = NULL;
	p->count = 0;
}

/* The log distinguishes measurements by mode and digests, not by name. */
static bool is_repeated(const struct prediction *p, enum measure_mode mode, size_t index)
{
	char text[MEASURE_TEXT_MAX], other[MEASURE_TEXT_MAX];

	if (measure_text(mode, &p->models[index].digests, text) < 0)
		return false;
	for (size_t i = 0; i < index; i++)
		if (measure_text(mode, &p->models[i].digests, other) == 0 &&
		    strcmp(text, other) == 0)
			return true;
	return false;
}

static int check_bare(const struct prediction *p, enum measure_mode mode, struct error *err)
{
	for (size_t i = 0; measure_mode_is_bare(mode) && i < p->count; i++)
		if (p->models[i].is_event_text)
			return error_set(err, -EKEYREJECTED,
					 "refused: the plaintext of %s begins with \"%s\"",
					 p->models[i].path, MEASURE_TEXT_PREFIX);
	return 0;
}

static int start_text(const struct prediction *p, enum measure_mode mode, char **ret,
		      struct error *err)
{
	struct start_facts facts = p->facts;

	facts.measure = mode;
	return start_event_needed(mode) ? start_event_text(&facts, ret, err) : 0;
}

int predict_value(const struct prediction *p, enum measure_mode mode, enum digest_alg bank,
		  uint8_t value[DIGEST_SIZE_MAX], struct error *err)
{
	_cleanup_free_ char *start = NULL;
	uint8_t digest[DIGEST_SIZE_MAX];
	struct model_digests content;
	int r = mode == MEASURE_SET && !p->set && !p->has_content
			? error_set(err, -ENOENT, "there is no set (" SET_OBJECT_NAME ")")
			: check_bare(p, mode, err);

	memset(value, 0, DIGEST_SIZE_MAX);
	if (r == 0)
		r = start_text(p, mode, &start, err);
	if (r == 0 && start)
		r = digest_buffer(bank, start, strlen(start), digest);
	if (r == 0 && start)
		r = pcr_extend_value(bank, value, digest);
	if (r == 0 && mode == MEASURE_SET) {
		memcpy(content.set, p->set ? set_header(p->set)->content : p->content,
		       sizeof(content.set));
		r = measure_bank_digest(mode, &content, bank, digest);
		return r < 0 ? r : pcr_extend_value(bank, value, digest);
	}
	for (size_t i = 0; r == 0 && i < p->count; i++) {
		if (is_repeated(p, mode, i))
			continue;
		r = measure_bank_digest(mode, &p->models[i].digests, bank, digest);
		if (r == 0)
			r = pcr_extend_value(bank, value, digest);
	}
	return r;
}

static bool is_wanted(const struct prediction *p, enum measure_mode mode)
{
	return p->only_mode ? mode == p->mode : mode != MEASURE_SET || p->set || p->has_content;
}

int predict_values_json(const struct prediction *p, json_t **ret, struct error *err)
{
	uint8_t value[DIGEST_SIZE_MAX];
	json_t *all = json_object();
	int r = 0;

	for (size_t m = 0; r == 0 && m < ARRAY_LEN(modes); m++) {
		json_t *mode;

		if (!is_wanted(p, modes[m]) || check_bare(p, modes[m], NULL) < 0)
			continue;
		mode = json_object();
		for (size_t b = 0; r == 0 && b < ARRAY_LEN(banks); b++) {
			r = predict_value(p, modes[m], banks[b], value, err);
			json_object_set_new(mode, digest_name(banks[b]),
					    output_hex_json(value, digest_size(banks[b])));
		}
		json_object_set_new(all, measure_mode_name(modes[m]), mode);
	}
	*ret = all;
	return r;
}

int predict_print_values(const struct prediction *p, struct error *err)
{
	uint8_t value[DIGEST_SIZE_MAX];
	struct error refusal = {0};

	for (size_t m = 0; m < ARRAY_LEN(modes); m++) {
		if (!is_wanted(p, modes[m]))
			continue;
		if (check_bare(p, modes[m], &refusal) < 0) {
			print_safely(stdout, "    %-8s  refused: a plaintext begins with \"%s\"\n",
				     measure_mode_name(modes[m]), MEASURE_TEXT_PREFIX);
			continue;
		}
		for (size_t b = 0; b < ARRAY_LEN(banks); b++) {
			int r = predict_value(p, modes[m], banks[b], value, err);

			if (r < 0)
				return r;
			print_safely(stdout, "    %-8s  %-6s  %s\n", measure_mode_name(modes[m]),
				     digest_name(banks[b]),
				     OUTPUT_HEX(value, digest_size(banks[b])));
		}
	}
	return 0;
}

static json_t *starts_json(const struct prediction *p)
{
	json_t *all = json_object();

	for (size_t m = 0; m < ARRAY_LEN(modes); m++) {
		_cleanup_free_ char *start = NULL;

		if (is_wanted(p, modes[m]) && start_text(p, modes[m], &start, NULL) == 0 && start)
			json_object_set_new(all, measure_mode_name(modes[m]), json_string(start));
	}
	return all;
}

static json_t *set_json(const struct prediction *p)
{
	const struct set_header *h = p->set ? set_header(p->set) : NULL;

	if (!h && p->has_content)
		return json_pack("{s:o}", "content",
				 output_hex_json(p->content, sizeof(p->content)));
	if (!h)
		return json_null();
	return json_pack("{s:o, s:o, s:I, s:o}", "name", output_text(h->name), "id",
			 output_hex_json(h->id, sizeof(h->id)), "version", (json_int_t)h->version,
			 "content", output_hex_json(h->content, sizeof(h->content)));
}

int predict_json(const struct prediction *p, json_t **ret, struct error *err)
{
	json_t *models = json_array(), *values = NULL;
	int r = predict_values_json(p, &values, err);

	for (size_t i = 0; i < p->count; i++)
		output_append(&models, output_text(p->models[i].path));
	*ret = json_pack("{s:o, s:o, s:o, s:o}", "models", models, "set", set_json(p), "start",
			 starts_json(p), "pcr", values);
	return r;
}

int predict_print(const struct prediction *p, struct error *err)
{
	bool titled = false;

	for (size_t m = 0; m < ARRAY_LEN(modes); m++) {
		_cleanup_free_ char *start = NULL;
		int r = is_wanted(p, modes[m]) ? start_text(p, modes[m], &start, err) : 0;

		if (r < 0)
			return r;
		if (!start)
			continue;
		if (!titled)
			print_safely(stdout, "Start event:\n");
		titled = true;
		print_safely(stdout, "    %s\n", start);
	}
	if (p->set)
		print_safely(stdout,
			     "Set \"%s\", version %" PRIu64 ", content sha256:%s: one event for "
			     "all members (set)\n",
			     set_header(p->set)->name, set_header(p->set)->version,
			     OUTPUT_HEX(set_header(p->set)->content, SHA256_SIZE));
	if (p->has_content)
		print_safely(stdout,
			     "Content as a set sha256:%s: one event for all members (set)\n",
			     OUTPUT_HEX(p->content, SHA256_SIZE));
	print_safely(stdout, "Measured in this order%s:\n",
		     p->set || p->has_content ? " in the other modes" : "");
	for (size_t i = 0; i < p->count; i++) {
		char name[NAME_PRINTABLE_SIZE];

		name_printable(p->models[i].path, name);
		print_safely(stdout, "    %s\n", name);
	}
	print_safely(stdout, "PCR from zero after that, by measure= and bank:\n");
	return predict_print_values(p, err);
}
