/*
 * Manifests. Job: between Ollama's JSON and struct ollama_manifest. Trusts jansson to parse; takes
 * no digest that could name anything but a blob, and no number that is no size.
 */
#include "fs/formats/ollama_manifest.h"

#include "crypto/base/encode.h"
#include "crypto/base/json.h"

#include <errno.h>
#include <string.h>

#define MANIFEST_TYPE "application/vnd.docker.distribution.manifest.v2+json"

static int parse_digest(const char *text, uint8_t out[SHA256_SIZE])
{
	size_t prefix = sizeof(OLLAMA_DIGEST_PREFIX) - 1;

	if (!text || strncmp(text, OLLAMA_DIGEST_PREFIX, prefix) != 0 ||
	    strspn(text + prefix, "0123456789abcdef") != 2 * (size_t)SHA256_SIZE)
		return -EPROTO;
	return hex_decode(text + prefix, out, SHA256_SIZE);
}

static int parse_layer(const json_t *value, struct ollama_layer *ret, struct error *err)
{
	const char *type = json_text(value, "mediaType");
	const json_t *size = json_object_get(value, "size");

	if (!type || strlen(type) > OLLAMA_TYPE_MAX)
		return error_set(err, -EPROTO, "a layer of the manifest has no media type");
	if (parse_digest(json_text(value, "digest"), ret->sha256) < 0)
		return error_set(err, -EPROTO,
				 "a layer of the manifest has no digest of the form sha256:…");
	if (!json_is_integer(size) || json_integer_value(size) < 0 ||
	    (uint64_t)json_integer_value(size) > OLLAMA_LAYER_MAX)
		return error_set(err, -EPROTO, "a layer of the manifest has no valid size");
	memcpy(ret->type, type, strlen(type) + 1);
	ret->size = (uint64_t)json_integer_value(size);
	return 0;
}

static int parse_layers(const json_t *layers, struct ollama_manifest *m, struct error *err)
{
	size_t models = 0;

	if (!json_is_array(layers) || json_array_size(layers) > OLLAMA_LAYERS_MAX)
		return error_set(err, -EPROTO, "the manifest has no list of at most %d layers",
				 OLLAMA_LAYERS_MAX);
	for (; m->layer_count < json_array_size(layers); m->layer_count++) {
		struct ollama_layer *layer = &m->layers[m->layer_count];
		int r = parse_layer(json_array_get(layers, m->layer_count), layer, err);

		if (r < 0)
			return r;
		if (ollama_layer_is(layer, "model")) {
			m->model = m->layer_count;
			models++;
		}
	}
	if (models == 1)
		return 0;
	return error_set(err, -EPROTO,
			 models ? "the manifest has several model layers"
				: "the manifest has no model layer");
}

int ollama_manifest_parse(const void *bytes, size_t size, struct ollama_manifest **ret,
			  struct error *err)
{
	_cleanup_free_ struct ollama_manifest *m = calloc(1, sizeof(*m));
	_cleanup_json_ json_t *value = NULL;
	const json_t *config;
	int r;

	if (!m)
		return -ENOMEM;
	if (size <= OLLAMA_MANIFEST_MAX)
		value = json_object_parse(bytes, size);
	if (!value)
		return error_set(err, -EPROTO, "the manifest is not a JSON object");
	config = json_object_get(value, "config");
	r = parse_layers(json_object_get(value, "layers"), m, err);
	/* Ollama writes an empty one for "there is none". */
	if (r == 0 && json_text(config, "digest")) {
		m->has_config = true;
		r = parse_layer(config, &m->config, err);
	}
	if (r == 0)
		*ret = steal_ptr(m);
	return r;
}

static void print_layer(FILE *out, const struct ollama_layer *layer)
{
	char digits[2 * SHA256_SIZE + 1];

	hex_encode(layer->sha256, SHA256_SIZE, digits);
	fprintf(out,
		"{\"mediaType\":\"%s\",\"digest\":\"" OLLAMA_DIGEST_PREFIX "%s\",\"size\":%llu}",
		layer->type, digits, (unsigned long long)layer->size);
}

char *ollama_manifest_make(const struct ollama_manifest *m)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	bool failed;

	if (!out)
		return NULL;
	fputs("{\"schemaVersion\":2,\"mediaType\":\"" MANIFEST_TYPE "\"", out);
	if (m->has_config) {
		fputs(",\"config\":", out);
		print_layer(out, &m->config);
	}
	fputs(",\"layers\":[", out);
	for (size_t i = 0; i < m->layer_count; i++) {
		if (i > 0)
			fputc(',', out);
		print_layer(out, &m->layers[i]);
	}
	fputs("]}", out);
	failed = ferror(out) != 0;
	if (fclose(out) != 0 || failed) {
		free(text);
		return NULL;
	}
	return text;
}

bool ollama_layer_is(const struct ollama_layer *layer, const char *kind)
{
	size_t prefix = sizeof(OLLAMA_IMAGE) - 1;

	return strncmp(layer->type, OLLAMA_IMAGE, prefix) == 0 &&
	       strcmp(layer->type + prefix, kind) == 0;
}

bool ollama_layer_is_weights(const struct ollama_layer *layer)
{
	return ollama_layer_is(layer, "model") || ollama_layer_is(layer, "projector") ||
	       ollama_layer_is(layer, "adapter") || ollama_layer_is(layer, "draft");
}

int ollama_layer_set(struct ollama_layer *layer, const char *type, const void *data, size_t size)
{
	if (strlen(type) > OLLAMA_TYPE_MAX)
		return -EINVAL;
	memcpy(layer->type, type, strlen(type) + 1);
	layer->size = size;
	return digest_buffer(DIGEST_SHA256, data, size, layer->sha256);
}

void ollama_blob_name(const uint8_t sha256[SHA256_SIZE], char out[OLLAMA_BLOB_NAME_SIZE])
{
	memcpy(out, OLLAMA_BLOB_PREFIX, sizeof(OLLAMA_BLOB_PREFIX) - 1);
	hex_encode(sha256, SHA256_SIZE, out + sizeof(OLLAMA_BLOB_PREFIX) - 1);
}
