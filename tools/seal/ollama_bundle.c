/*
 * Bundles. Job: turn files and options into layers. Does not trust the files to be text. Encoding
 * and size of a template are checked; its syntax (Go's text/template) is not.
 */
#include "tools/seal/ollama_bundle.h"

#include "crypto/base/fileio.h"
#include "crypto/base/json.h"
#include "crypto/format.h"
#include "crypto/name.h"
#include "fs/view/ollama_derive.h"
#include "tools/seal/ollama_params.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

bool ollama_options_any(const struct ollama_options *o)
{
	return o->name || o->template || o->system || o->license_count || o->params;
}

void ollama_options_clear(struct ollama_options *o)
{
	json_decref(o->params);
	o->params = NULL;
}

int ollama_read_file(const char *path, size_t max, uint8_t **ret, size_t *ret_size,
		     struct error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	_cleanup_free_ uint8_t *data = NULL;
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return error_set(err, -errno, "cannot read %s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return error_set(err, -EINVAL, "%s is no file", path);
	if (st.st_size > (off_t)max)
		return error_set(err, -EFBIG, "%s has more than %zu bytes", path, max);
	data = malloc((size_t)st.st_size + 1);
	if (!data)
		return -ENOMEM;
	n = file_read(fd, data, (size_t)st.st_size + 1);
	if (n < 0)
		return error_set(err, (int)n, "cannot read %s: %s", path, strerror((int)-n));
	if (n != st.st_size)
		return error_set(err, -ETXTBSY, "%s changed while it was read", path);
	*ret = steal_ptr(data);
	*ret_size = (size_t)n;
	return 0;
}

int ollama_options_add_params(struct ollama_options *o, const char *value, struct error *err)
{
	_cleanup_free_ uint8_t *text = NULL;
	size_t size = 0;
	int r;

	if (!o->params)
		o->params = json_object();
	if (!o->params)
		return -ENOMEM;
	if (strchr(value, '=') && access(value, F_OK) < 0)
		return ollama_params_set(o->params, value, err);
	r = ollama_read_file(value, OLLAMA_DESCRIPTION_MAX, &text, &size, err);
	return r < 0 ? r : ollama_params_add(o->params, (char *)text, size, value, err);
}

int ollama_bundle_add_blob(struct ollama_bundle *b, uint8_t *data, size_t size)
{
	if (b->blob_count == ARRAY_LEN(b->blobs)) {
		free(data);
		return -E2BIG;
	}
	b->blobs[b->blob_count++] = (struct ollama_blob){.data = data, .size = size};
	return 0;
}

void ollama_bundle_clear(struct ollama_bundle *b)
{
	for (size_t i = 0; i < b->blob_count; i++)
		free((void *)(uintptr_t)b->blobs[i].data);
	free(b->manifest);
	free(b->text);
	json_decref(b->params);
	*b = (struct ollama_bundle){0};
}

/* Takes data. */
static int add_layer(struct ollama_bundle *b, const char *kind, void *data, size_t size)
{
	struct ollama_manifest *m = b->manifest;
	char type[OLLAMA_TYPE_MAX + 1];
	int r;

	(void)snprintf(type, sizeof(type), OLLAMA_IMAGE "%s", kind);
	r = ollama_layer_set(&m->layers[m->layer_count], type, data, size);
	m->layer_count++;
	if (r < 0) {
		free(data);
		return r;
	}
	return ollama_bundle_add_blob(b, data, size);
}

static int add_text(struct ollama_bundle *b, const char *kind, char *text)
{
	return text ? add_layer(b, kind, text, strlen(text)) : -ENOMEM;
}

static int add_text_file(struct ollama_bundle *b, const char *kind, const char *path,
			 struct error *err)
{
	_cleanup_free_ uint8_t *data = NULL;
	size_t size = 0;
	int r = ollama_read_file(path, OLLAMA_DESCRIPTION_MAX, &data, &size, err);

	if (r < 0)
		return r;
	if (size == 0)
		return error_set(err, -EINVAL, "%s is empty", path);
	if (!utf8_valid(data, size))
		return error_set(err, -EINVAL, "%s is not UTF-8 text", path);
	return add_layer(b, kind, steal_ptr(data), size);
}

static int add_layers(const struct ollama_options *o, struct ollama_bundle *b, struct error *err)
{
	int r = 0;

	/* Set when the model has been read. */
	b->manifest->layer_count = 1;
	(void)snprintf(b->manifest->layers[0].type, OLLAMA_TYPE_MAX, OLLAMA_IMAGE "model");
	b->has_template = o->template != NULL;
	b->params = json_incref(o->params);
	if (o->template)
		r = add_text_file(b, "template", o->template, err);
	if (r == 0 && o->system)
		r = add_text_file(b, "system", o->system, err);
	for (unsigned i = 0; r == 0 && i < o->license_count; i++)
		r = add_text_file(b, "license", o->licenses[i], err);
	return r;
}

static int set_name(const struct ollama_options *o, const char *model_name, struct ollama_name *ret,
		    struct error *err)
{
	char printable[NAME_PRINTABLE_SIZE];
	const char *problem;

	if (!o->name)
		return ollama_name_of_path(model_name, false, ret);
	problem = ollama_name_parse(o->name, ret);
	if (!problem)
		return 0;
	name_printable(o->name, printable);
	return error_set(err, -EINVAL, "\"%s\" is not a valid Ollama name: %s", printable, problem);
}

int ollama_bundle_from_options(const struct ollama_options *o, const char *model_name,
			       struct ollama_bundle *ret, struct error *err)
{
	static const uint8_t zeros[SHA256_SIZE];
	_cleanup_(ollama_bundle_clear) struct ollama_bundle b = {0};
	_cleanup_free_ uint8_t *trial = NULL;
	size_t size = 0;
	int r = set_name(o, model_name, &b.name, err);

	if (r < 0)
		return r;
	b.manifest = calloc(1, sizeof(*b.manifest));
	if (!b.manifest)
		return -ENOMEM;
	r = add_layers(o, &b, err);
	if (r == 0)
		r = ollama_bundle_describe(&b, zeros, SEAL_LENGTH_MAX, "", &trial, &size, err);
	if (r < 0)
		return r;
	*ret = b;
	b = (struct ollama_bundle){0};
	return 0;
}

/* The owner's parameters take precedence over derived ones. */
static int add_params(struct ollama_bundle *b, const char *facts)
{
	const char *stops = ollama_derive_stops(facts);
	_cleanup_json_ json_t *params = b->params ? json_copy(b->params) : json_object();
	json_t *value;

	if (!params)
		return -ENOMEM;
	if (stops && !json_object_get(params, "stop")) {
		value = json_loads(stops, 0, NULL);
		if (!value || json_object_set_new(params, "stop", value) < 0)
			return -ENOMEM;
	}
	if (json_object_size(params) == 0)
		return 0;
	return add_text(b, "params", ollama_params_text(params));
}

/* Everything that depends on the model. b: a copy; the original stays the owner of its first blobs.
 */
static int complete(struct ollama_bundle *b, const uint8_t model[SHA256_SIZE], uint64_t model_size,
		    const char *facts)
{
	struct ollama_manifest *m = b->manifest;
	const char *template = ollama_derive_template(facts);
	char *config = ollama_derive_config(facts);
	int r;

	if (!config)
		return -ENOMEM;
	m->has_config = true;
	r = ollama_layer_set(&m->config, OLLAMA_CONFIG_TYPE, config, strlen(config));
	if (r < 0) {
		free(config);
		return r;
	}
	r = ollama_bundle_add_blob(b, (uint8_t *)config, strlen(config));
	if (r == 0 && template && !b->has_template)
		r = add_text(b, "template", strdup(template));
	if (r == 0)
		r = add_params(b, facts);
	memcpy(m->layers[0].sha256, model, SHA256_SIZE);
	m->layers[0].size = model_size;
	return r;
}

static int describe(const struct ollama_bundle *b, const void *manifest, size_t size, uint8_t **ret,
		    size_t *ret_size, struct error *err)
{
	struct ollama_description d = {.name = b->name, .blob_count = b->blob_count};

	memcpy(d.blobs, b->blobs, sizeof(d.blobs));
	d.manifest_bytes = manifest;
	d.manifest_size = size;
	return ollama_description_make(&d, ret, ret_size, err);
}

int ollama_bundle_describe(const struct ollama_bundle *b, const uint8_t model[SHA256_SIZE],
			   uint64_t model_size, const char *facts, uint8_t **ret, size_t *ret_size,
			   struct error *err)
{
	_cleanup_free_ struct ollama_manifest *m = NULL;
	_cleanup_free_ char *text = NULL;
	struct ollama_bundle all = *b;
	int r;

	if (b->text)
		return describe(b, b->text, b->text_size, ret, ret_size, err);
	m = malloc(sizeof(*m));
	if (!m)
		return -ENOMEM;
	*m = *b->manifest;
	all.manifest = m;
	r = complete(&all, model, model_size, facts);
	text = r == 0 ? ollama_manifest_make(m) : NULL;
	if (r == 0 && !text)
		r = -ENOMEM;
	if (r == 0)
		r = describe(&all, text, strlen(text), ret, ret_size, err);
	for (size_t i = b->blob_count; i < all.blob_count; i++)
		free((void *)(uintptr_t)all.blobs[i].data);
	return r;
}
