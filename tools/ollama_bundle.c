/*
 * Bundles. Job: turn files and options into layers. Trusts the caller to have asked for them; does
 * not trust the files to be text. A template's syntax is Ollama's affair (Go's text/template), its
 * encoding and size are checked.
 */
#include "tools/ollama_bundle.h"

#include "crypto/base/fileio.h"
#include "crypto/name.h"
#include "tools/ollama_params.h"

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
	*b = (struct ollama_bundle){0};
}

/* Takes data. */
static int add_layer(struct ollama_bundle *b, const char *type, uint8_t *data, size_t size)
{
	struct ollama_manifest *m = b->manifest;
	bool is_config = strcmp(type, OLLAMA_CONFIG_TYPE) == 0;
	struct ollama_layer *layer = is_config ? &m->config : &m->layers[m->layer_count];
	int r = ollama_layer_set(layer, type, data, size);

	m->layer_count += !is_config;
	if (r < 0) {
		free(data);
		return r;
	}
	return ollama_bundle_add_blob(b, data, size);
}

static int add_text_file(struct ollama_bundle *b, const char *kind, const char *path,
			 struct error *err)
{
	_cleanup_free_ uint8_t *data = NULL;
	char type[OLLAMA_TYPE_MAX + 1];
	size_t size = 0;
	int r = ollama_read_file(path, OLLAMA_DESCRIPTION_MAX, &data, &size, err);

	if (r < 0)
		return r;
	if (size == 0)
		return error_set(err, -EINVAL, "%s is empty", path);
	if (!utf8_valid(data, size))
		return error_set(err, -EINVAL, "%s is no text in UTF-8", path);
	(void)snprintf(type, sizeof(type), OLLAMA_IMAGE "%s", kind);
	return add_layer(b, type, steal_ptr(data), size);
}

static int add_text(struct ollama_bundle *b, const char *type, char *text)
{
	return text ? add_layer(b, type, (uint8_t *)text, strlen(text)) : -ENOMEM;
}

/* As `ollama create` describes a model, as far as its header tells. */
static char *make_config(const struct gguf_header *h)
{
	const char *family = h->architecture, *type = h->file_type ? h->file_type : "unknown";
	char *text;

	if (!*family)
		return strdup(OLLAMA_PLAIN_CONFIG);
	return asprintf(
		       &text,
		       "{\"model_format\":\"gguf\",\"model_family\":\"%s\",\"model_families\":[\"%s\"],"
		       "\"model_type\":\"%s\",\"file_type\":\"%s\",\"architecture\":\"amd64\","
		       "\"os\":\"linux\"}",
		       family, family, h->size_label, type) < 0
		       ? NULL
		       : text;
}

static int add_layers(const struct ollama_options *o, const struct gguf_header *header,
		      struct ollama_bundle *b, struct error *err)
{
	int r = add_text(b, OLLAMA_CONFIG_TYPE, make_config(header));

	/* Set when the model has been read. */
	b->manifest->has_config = true;
	b->manifest->layer_count = 1;
	(void)snprintf(b->manifest->layers[0].type, OLLAMA_TYPE_MAX, OLLAMA_IMAGE "model");
	if (r == 0 && o->template)
		r = add_text_file(b, "template", o->template, err);
	if (r == 0 && o->system)
		r = add_text_file(b, "system", o->system, err);
	for (unsigned i = 0; r == 0 && i < o->license_count; i++)
		r = add_text_file(b, "license", o->licenses[i], err);
	if (r == 0 && o->params)
		r = add_text(b, OLLAMA_IMAGE "params", ollama_params_text(o->params));
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
	return error_set(err, -EINVAL, "\"%s\" is no name for Ollama: %s", printable, problem);
}

int ollama_bundle_from_options(const struct ollama_options *o, const char *model_name,
			       const struct gguf_header *header, struct ollama_bundle *ret,
			       struct error *err)
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
	r = add_layers(o, header, &b, err);
	if (r == 0)
		r = ollama_bundle_describe(&b, zeros, SEAL_LENGTH_MAX, &trial, &size, err);
	if (r < 0)
		return r;
	*ret = b;
	b = (struct ollama_bundle){0};
	return 0;
}

int ollama_bundle_describe(const struct ollama_bundle *b, const uint8_t model[SHA256_SIZE],
			   uint64_t model_size, uint8_t **ret, size_t *ret_size, struct error *err)
{
	_cleanup_free_ struct ollama_manifest *m = NULL;
	_cleanup_free_ char *made = NULL;
	struct ollama_description d = {.name = b->name, .blob_count = b->blob_count};

	memcpy(d.blobs, b->blobs, sizeof(d.blobs));
	d.manifest_bytes = b->text;
	d.manifest_size = b->text_size;
	if (!b->text) {
		m = malloc(sizeof(*m));
		if (!m)
			return -ENOMEM;
		*m = *b->manifest;
		memcpy(m->layers[m->model].sha256, model, SHA256_SIZE);
		m->layers[m->model].size = model_size;
		made = ollama_manifest_make(m);
		if (!made)
			return -ENOMEM;
		d.manifest_bytes = (const uint8_t *)made;
		d.manifest_size = strlen(made);
	}
	return ollama_description_make(&d, ret, ret_size, err);
}
