/*
 * PCR values before they come about. Job: the arithmetic of attest/PCRS.md over a list of models,
 * and digests out of seals. Trusts a seal only as far as its owner's signature goes, and says
 * nothing about a seal under a wrong name: no mount would serve it. Must never need a key or a TPM.
 */
#include "tools/predict.h"

#include "crypto/name.h"
#include "crypto/seal.h"
#include "fs/view/ollama_description.h"

#include <errno.h>
#include <string.h>

static const enum measure_mode modes[] = {MEASURE_VERITY, MEASURE_SHA384, MEASURE_SHA256,
					  MEASURE_DECLARED};
static const enum digest_alg banks[] = {DIGEST_SHA1, DIGEST_SHA256, DIGEST_SHA384, DIGEST_SHA512};

int predict_add(struct prediction *p, const char *path, const struct model_digests *digests)
{
	struct predicted_model *more = reallocarray(p->models, p->count + 1, sizeof(*more));

	if (!more)
		return -ENOMEM;
	p->models = more;
	more[p->count] = (struct predicted_model){.path = strdup(path), .digests = *digests};
	if (!more[p->count].path)
		return -ENOMEM;
	p->count++;
	return 0;
}

static int read_core(const struct prediction *p, struct source *source, const char *name,
		     struct model_digests *ret, struct error *err)
{
	_cleanup_free_ char *label = source_describe(source, name);
	_cleanup_(source_object_clear) struct source_object o = {0};
	_cleanup_seal_ struct seal *seal = NULL;
	const struct seal_core *core;
	uint8_t head[SEAL_HEAD_MAX];
	size_t size;
	int r = label ? source_stat(source, name, &o, err) : -ENOMEM;

	if (r < 0)
		return r;
	size = (size_t)MIN(o.size, (uint64_t)sizeof(head));
	r = source_read(source, name, o.version, 0, size, head, err);
	if (r == 0)
		r = seal_parse_head(label, head, size, o.size, &seal, err);
	if (r == 0)
		r = seal_check_name(seal, name, err);
	if (r == 0)
		r = seal_check_owner(seal, p->owners, err);
	if (r < 0)
		return r;
	core = seal_core(seal);
	memcpy(ret->verity, core->verity, sizeof(ret->verity));
	memcpy(ret->sha256, core->sha256, sizeof(ret->sha256));
	memcpy(ret->sha384, core->sha384, sizeof(ret->sha384));
	return 0;
}

/* path: the seal's, as the user knows it. */
static int add_seal(struct prediction *p, struct source *source, const char *name, char *path,
		    struct error *err)
{
	struct model_digests digests;
	int r = read_core(p, source, name, &digests, err);

	if (r < 0)
		return r;
	path[strlen(path) - strlen(SEAL_SUFFIX)] = '\0';
	return predict_add(p, path, &digests);
}

static bool is_seal(const char *name)
{
	size_t n = strlen(name), suffix = strlen(SEAL_SUFFIX);

	return n > suffix && strcmp(name + n - suffix, SEAL_SUFFIX) == 0;
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

static int add_all(struct prediction *p, struct source *source, struct error *err)
{
	_cleanup_(source_listing_clear) struct source_listing l = {0};
	size_t before = p->count;
	int r = source_list(source, &l, err);

	for (size_t i = 0; r == 0 && i < l.count; i++) {
		_cleanup_free_ char *path = source_describe(source, l.objects[i].name);

		if (!path)
			return -ENOMEM;
		if (is_seal(l.objects[i].name) && !is_description(&l, l.objects[i].name))
			r = add_seal(p, source, l.objects[i].name, path, err);
	}
	if (r == 0 && p->count == before) {
		_cleanup_free_ char *label = source_describe(source, "");

		return error_set(err, -ENOENT, "there is no sealed object in %s",
				 label ? label : "?");
	}
	return r;
}

int predict_add_target(struct prediction *p, const char *operand, const struct target *t,
		       struct error *err)
{
	_cleanup_free_ char *path = strdup(operand);

	if (!path)
		return -ENOMEM;
	return t->name ? add_seal(p, t->source, t->name, path, err) : add_all(p, t->source, err);
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
	for (size_t i = 0; i < p->count; i++)
		free(p->models[i].path);
	free(p->models);
	p->models = NULL;
	p->count = 0;
}

/* The log tells measurements apart by mode and digests, not by name. */
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

bool predict_value(const struct prediction *p, enum measure_mode mode, enum digest_alg bank,
		   uint8_t value[DIGEST_SIZE_MAX])
{
	uint8_t digest[DIGEST_SIZE_MAX];

	memset(value, 0, DIGEST_SIZE_MAX);
	for (size_t i = 0; i < p->count; i++) {
		if (is_repeated(p, mode, i))
			continue;
		if (measure_bank_digest(mode, &p->models[i].digests, bank, digest) < 0 ||
		    pcr_extend_value(bank, value, digest) < 0)
			return false;
	}
	return true;
}

json_t *predict_values_json(const struct prediction *p)
{
	uint8_t value[DIGEST_SIZE_MAX];
	json_t *all = json_object();

	for (size_t m = 0; m < ARRAY_LEN(modes); m++) {
		json_t *mode = json_object();

		for (size_t b = 0; b < ARRAY_LEN(banks); b++)
			if (predict_value(p, modes[m], banks[b], value))
				json_object_set_new(mode, digest_name(banks[b]),
						    output_hex_json(value, digest_size(banks[b])));
		json_object_set_new(all, measure_mode_name(modes[m]), mode);
	}
	return all;
}

void predict_print_values(const struct prediction *p)
{
	uint8_t value[DIGEST_SIZE_MAX];

	for (size_t m = 0; modes[m] != MEASURE_DECLARED; m++)
		for (size_t b = 0; b < ARRAY_LEN(banks); b++)
			if (predict_value(p, modes[m], banks[b], value))
				printf("    %-8s  %-6s  %s\n", measure_mode_name(modes[m]),
				       digest_name(banks[b]),
				       OUTPUT_HEX(value, digest_size(banks[b])));
}

json_t *predict_json(const struct prediction *p)
{
	json_t *models = json_array();

	for (size_t i = 0; i < p->count; i++)
		output_append(&models, output_text(p->models[i].path));
	return json_pack("{s:o, s:o}", "models", models, "pcr", predict_values_json(p));
}

void predict_print(const struct prediction *p)
{
	printf("Measured in this order:\n");
	for (size_t i = 0; i < p->count; i++) {
		char name[NAME_PRINTABLE_SIZE];

		name_printable(p->models[i].path, name);
		printf("    %s\n", name);
	}
	printf("PCR from zero after that, by measure= and bank (declared: as sha384):\n");
	predict_print_values(p);
}
