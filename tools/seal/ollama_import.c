/*
 * Reading an Ollama store. Job: find everything that belongs to a model before anything is sealed,
 * and report clearly what cannot be sealed. Trusts the name only after Ollama's rules (no part of
 * it can lead out of the store), and blobs only by their digests.
 */
#include "tools/seal/ollama_import.h"

#include "crypto/base/digest.h"
#include "crypto/base/encode.h"
#include "crypto/base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define SERVICE_STORE "/usr/share/ollama/.ollama/models"

/* In newer stores tags are links to blobs; this place has priority over the older one. */
static const char *const tag_folders[] = {"manifests-v2", "manifests"};

static bool has_manifests(const char *store)
{
	for (size_t i = 0; i < ARRAY_LEN(tag_folders); i++) {
		_cleanup_free_ char *path = NULL;
		struct stat st;

		if (asprintf(&path, "%s/%s", store, tag_folders[i]) < 0) {
			path = NULL;
			return false;
		}
		if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
			return true;
	}
	return false;
}

int ollama_store_path(char **ret, struct error *err)
{
	const char *set = getenv("OLLAMA_MODELS"), *home = getenv("HOME");
	_cleanup_free_ char *own = NULL;

	if (set && *set) {
		*ret = strdup(set);
		return *ret ? 0 : -ENOMEM;
	}
	if (home && asprintf(&own, "%s/.ollama/models", home) < 0) {
		own = NULL;
		return -ENOMEM;
	}
	if (own && has_manifests(own)) {
		*ret = steal_ptr(own);
		return 0;
	}
	if (has_manifests(SERVICE_STORE)) {
		*ret = strdup(SERVICE_STORE);
		return *ret ? 0 : -ENOMEM;
	}
	error_hint(err, "name its folder before the destination: the one with blobs and manifests");
	return error_set(err, -ENOENT, "there is no Ollama store in %s or " SERVICE_STORE,
			 own ? own : "the home directory");
}

/* Ollama's two hosts are one: if a model is not under the given name, try the other. */
static const char *other_host(const char *host)
{
	if (strcasecmp(host, OLLAMA_HOST_DEFAULT) == 0)
		return OLLAMA_HOST_NEWER;
	return strcasecmp(host, OLLAMA_HOST_NEWER) == 0 ? OLLAMA_HOST_DEFAULT : NULL;
}

/* The place of a tag, where there is anything; NULL and 0: nowhere. In the newer place the name has
 * one host only, whichever was typed. */
static int find_tag(const char *store, struct ollama_name *n, char **ret)
{
	const char *hosts[] = {n->host, other_host(n->host)};

	*ret = NULL;
	for (size_t i = 0; i < ARRAY_LEN(tag_folders) * ARRAY_LEN(hosts); i++) {
		const char *host = hosts[i % ARRAY_LEN(hosts)];
		_cleanup_free_ char *path = NULL;
		struct stat st;

		if (!host)
			continue;
		if (asprintf(&path, "%s/%s/%s/%s/%s/%s", store, tag_folders[i / ARRAY_LEN(hosts)],
			     host, n->space, n->model, n->tag) < 0) {
			path = NULL;
			return -ENOMEM;
		}
		if (lstat(path, &st) == 0) {
			if (i < ARRAY_LEN(hosts) && hosts[1])
				(void)snprintf(n->host, sizeof(n->host), "%s", OLLAMA_HOST_DEFAULT);
			*ret = steal_ptr(path);
			return 0;
		}
	}
	return 0;
}

/* The file itself: within the store; a link may only lead to one of its blobs. */
static int resolve_tag(const char *store, const char *path, char **ret, bool *ret_is_blob,
		       struct error *err)
{
	_cleanup_free_ char *root = realpath(store, NULL), *file = realpath(path, NULL);
	_cleanup_free_ char *blobs = NULL;
	struct stat st;
	size_t size;

	if (!root || !file || lstat(path, &st) < 0)
		return error_set(err, -errno, "cannot read %s: %s", path, strerror(errno));
	if (asprintf(&blobs, "%s/blobs/" OLLAMA_BLOB_PREFIX, root) < 0) {
		blobs = NULL;
		return -ENOMEM;
	}
	*ret_is_blob = S_ISLNK(st.st_mode);
	size = strlen(*ret_is_blob ? blobs : root);
	if (strncmp(file, *ret_is_blob ? blobs : root, size) != 0 ||
	    (!*ret_is_blob && file[size] != '/' && size > 1))
		return error_set(err, -EINVAL, "%s points to %s, which is not a blob of the store",
				 path, file);
	*ret = steal_ptr(file);
	return 0;
}

/* A blob's name is its digest. */
static int check_blob_name(const char *path, const struct ollama_bundle *b, struct error *err)
{
	const char *leaf = strrchr(path, '/') + 1;
	char name[OLLAMA_BLOB_NAME_SIZE];
	uint8_t digest[SHA256_SIZE];
	int r = digest_buffer(DIGEST_SHA256, b->text, b->text_size, digest);

	if (r < 0)
		return r;
	ollama_blob_name(digest, name);
	return strcasecmp(leaf, name) == 0
		       ? 0
		       : error_set(err, -EBADMSG, "%s does not match its digest", path);
}

static int read_manifest(const char *store, struct ollama_bundle *b, struct error *err)
{
	_cleanup_free_ char *path = NULL, *file = NULL;
	bool is_blob = false;
	int r = find_tag(store, &b->name, &path);

	if (r < 0)
		return r;
	if (!path) {
		char full[OLLAMA_NAME_MAX + 1];

		ollama_name_full(&b->name, full);
		error_hint(err, "`ollama list` shows what is there");
		return error_set(err, -ENOENT, "%s has no model %s", store, full);
	}
	r = resolve_tag(store, path, &file, &is_blob, err);
	if (r == 0)
		r = ollama_read_file(file, OLLAMA_MANIFEST_MAX, &b->text, &b->text_size, err);
	if (r == 0 && is_blob)
		r = check_blob_name(file, b, err);
	if (r == 0)
		r = ollama_manifest_parse(b->text, b->text_size, &b->manifest, err);
	return r < 0 ? error_prefix(err, r, "%s", path) : 0;
}

static char *blob_path(const char *store, const struct ollama_layer *layer)
{
	char name[OLLAMA_BLOB_NAME_SIZE];
	char *path;

	ollama_blob_name(layer->sha256, name);
	return asprintf(&path, "%s/blobs/%s", store, name) < 0 ? NULL : path;
}

static int read_small(const char *store, const struct ollama_layer *layer, struct ollama_bundle *b,
		      struct error *err)
{
	_cleanup_free_ char *path = blob_path(store, layer);
	_cleanup_free_ uint8_t *data = NULL;
	uint8_t digest[SHA256_SIZE];
	size_t size = 0;
	int r = path ? ollama_read_file(path, OLLAMA_DESCRIPTION_MAX, &data, &size, err) : -ENOMEM;

	if (r == 0)
		r = digest_buffer(DIGEST_SHA256, data, size, digest);
	if (r < 0)
		return r;
	if (size != layer->size || memcmp(digest, layer->sha256, SHA256_SIZE) != 0)
		return error_set(err, -EBADMSG, "%s does not match its digest", path);
	return ollama_bundle_add_blob(b, steal_ptr(data), size);
}

/* Safetensors and cloud models are no GGUF, whatever their manifest calls a model. */
static int check_config(const struct ollama_blob *config, struct error *err)
{
	_cleanup_json_ json_t *value = json_object_parse(config->data, config->size);
	const char *format = json_text(value, "model_format");

	if (!value)
		return error_set(err, -EPROTO, "the model's configuration is not a JSON object");
	if (json_text(value, "remote_host") || json_text(value, "remote_model"))
		return error_set(err, -EINVAL, "it is a cloud model: there are no weights to seal");
	if (format && strcmp(format, "gguf") != 0)
		return error_set(err, -EINVAL,
				 "it is a %.40s model: only GGUF models can be sealed", format);
	return 0;
}

static int check_layers(const struct ollama_manifest *m, struct error *err)
{
	for (size_t i = 0; i < m->layer_count; i++)
		if (ollama_layer_is(&m->layers[i], "tensor"))
			return error_set(err, -EINVAL,
					 "it is a safetensors model: only GGUF models can be "
					 "sealed");
	return 0;
}

/* "7b.gguf", "7b.gguf.projector", "7b.gguf.adapter-2": only the model's ends like a model's. */
static int name_weights(const char *model_name, const struct ollama_manifest *m, size_t index,
			char **ret)
{
	const char *kind = m->layers[index].type + sizeof(OLLAMA_IMAGE) - 1;
	unsigned before = 0;
	int n;

	for (size_t i = 0; i < index; i++)
		before += strcmp(m->layers[i].type, m->layers[index].type) == 0;
	if (index == m->model)
		n = asprintf(ret, "%s", model_name);
	else if (before == 0)
		n = asprintf(ret, "%s.%s", model_name, kind);
	else
		n = asprintf(ret, "%s.%s-%u", model_name, kind, before + 1);
	if (n < 0)
		*ret = NULL;
	return n < 0 ? -ENOMEM : 0;
}

static int check_weights(const struct ollama_weights *w, struct error *err)
{
	_cleanup_close_ int fd = open(w->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return error_set(err, -errno, "cannot read %s: %s", w->path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return error_set(err, -EINVAL, "%s is no file", w->path);
	if ((uint64_t)st.st_size != w->size)
		return error_set(err, -EBADMSG, "%s does not match its digest: it has %llu bytes",
				 w->path, (unsigned long long)st.st_size);
	return 0;
}

static int add_weights(const char *store, const char *model_name, size_t index,
		       struct ollama_import *im, struct error *err)
{
	const struct ollama_manifest *m = im->bundle.manifest;
	struct ollama_weights *w = &im->weights[im->count];
	int r;

	for (size_t i = 0; i < im->count; i++)
		if (memcmp(im->weights[i].sha256, m->layers[index].sha256, SHA256_SIZE) == 0)
			return 0; /* one file in two roles, as older vision models have it */
	im->count++;
	w->path = blob_path(store, &m->layers[index]);
	if (!w->path)
		return -ENOMEM;
	memcpy(w->sha256, m->layers[index].sha256, SHA256_SIZE);
	w->size = m->layers[index].size;
	r = name_weights(model_name, m, index, &w->name);
	return r < 0 ? r : check_weights(w, err);
}

static int take_apart(const char *store, const char *model_name, struct ollama_import *im,
		      struct error *err)
{
	struct ollama_bundle *b = &im->bundle;
	const struct ollama_manifest *m = b->manifest;
	const struct ollama_layer *model = &m->layers[m->model];
	int r = check_layers(m, err);

	if (r == 0 && m->has_config) {
		r = read_small(store, &m->config, b, err);
		if (r == 0)
			r = check_config(&b->blobs[0], err);
	}
	for (size_t i = 0; r == 0 && i < m->layer_count; i++) {
		const struct ollama_layer *layer = &m->layers[i];

		if (!ollama_layer_is_weights(layer))
			r = read_small(store, layer, b, err);
		else if (i != m->model && memcmp(layer->sha256, model->sha256, SHA256_SIZE) != 0)
			r = add_weights(store, model_name, i, im, err);
	}
	if (r == 0)
		r = add_weights(store, model_name, m->model, im, err);
	return r;
}

static char *default_name(const struct ollama_name *n)
{
	bool host = strcmp(n->host, OLLAMA_HOST_DEFAULT) != 0;
	bool space = host || strcmp(n->space, OLLAMA_NAMESPACE_DEFAULT) != 0;
	char *name;

	return asprintf(&name, "%s%s%s%s%s/%s.gguf", host ? n->host : "", host ? "/" : "",
			space ? n->space : "", space ? "/" : "", n->model, n->tag) < 0
		       ? NULL
		       : name;
}

int ollama_import_read(const char *store, const char *name, const char *model_name,
		       struct ollama_import *ret, struct error *err)
{
	_cleanup_(ollama_import_clear) struct ollama_import im = {0};
	const char *problem = ollama_name_parse(name, &im.bundle.name);
	_cleanup_free_ uint8_t *trial = NULL;
	_cleanup_free_ char *made = NULL;
	size_t size = 0;
	int r;

	if (problem)
		return error_set(err, -EINVAL, "\"%.100s\" is not a valid Ollama name: %s", name,
				 problem);
	r = read_manifest(store, &im.bundle, err);
	made = model_name ? strdup(model_name) : default_name(&im.bundle.name);
	if (r == 0 && !made)
		return -ENOMEM;
	if (r == 0)
		r = take_apart(store, made, &im, err);
	if (r == 0)
		r = ollama_bundle_describe(&im.bundle, im.weights[im.count - 1].sha256,
					   im.weights[im.count - 1].size, "", &trial, &size, err);
	if (r < 0)
		return error_prefix(err, r, "cannot take %.100s from %s", name, store);
	*ret = im;
	im = (struct ollama_import){0};
	return 0;
}

void ollama_import_clear(struct ollama_import *im)
{
	for (size_t i = 0; i < im->count; i++) {
		free(im->weights[i].path);
		free(im->weights[i].name);
	}
	ollama_bundle_clear(&im->bundle);
	im->count = 0;
}
