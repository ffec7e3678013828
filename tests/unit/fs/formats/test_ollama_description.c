/* fs/formats/ollama_description: one encoding, and no other is accepted. */
#include "fs/formats/ollama_description.h"

#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

static const uint8_t model_bytes[] = "GGUF, as far as anybody here can tell";

static void model_digest(uint8_t out[SHA256_SIZE])
{
	assert_int_equal(digest_buffer(DIGEST_SHA256, model_bytes, sizeof(model_bytes), out), 0);
}

/* Two blobs and a model; the caller frees. */
static size_t make_description(const char *name, uint8_t **ret)
{
	static const char config[] = "{}", text[] = "You are a test.";
	struct ollama_manifest m = {.has_config = true, .layer_count = 2};
	struct ollama_description d = {.blob_count = 2};
	_cleanup_free_ char *manifest = NULL;
	size_t size = 0;

	assert_null(ollama_name_parse(name, &d.name));
	assert_int_equal(ollama_layer_set(&m.config, OLLAMA_CONFIG_TYPE, config, 2), 0);
	assert_int_equal(ollama_layer_set(&m.layers[0], OLLAMA_IMAGE "model", model_bytes,
					  sizeof(model_bytes)),
			 0);
	assert_int_equal(ollama_layer_set(&m.layers[1], OLLAMA_IMAGE "system", text, strlen(text)),
			 0);
	manifest = ollama_manifest_make(&m);
	assert_non_null(manifest);
	d.manifest_bytes = (const uint8_t *)manifest;
	d.manifest_size = strlen(manifest);
	/* Their order does not matter, nor one that nobody names. */
	d.blobs[0] = (struct ollama_blob){(const uint8_t *)text, strlen(text), {0}};
	d.blobs[1] = (struct ollama_blob){(const uint8_t *)config, 2, {0}};
	assert_int_equal(ollama_description_make(&d, ret, &size, NULL), 0);
	return size;
}

static int parse(const uint8_t *bytes, size_t size, const uint8_t model[SHA256_SIZE],
		 struct ollama_description **ret)
{
	uint8_t *copy = malloc(size + 1);

	assert_non_null(copy);
	memcpy(copy, bytes, size);
	return ollama_description_parse(copy, size, model, ret, NULL);
}

static void test_description(void **state)
{
	_cleanup_(ollama_description_freep) struct ollama_description *d = NULL;
	_cleanup_free_ uint8_t *bytes = NULL;
	uint8_t model[SHA256_SIZE];
	size_t size = make_description("acme/test:1", &bytes);

	model_digest(model);
	assert_int_equal(parse(bytes, size, model, &d), 0);
	assert_string_equal(d->name.space, "acme");
	assert_int_equal(d->blob_count, 2);
	assert_int_equal(d->blobs[0].size, 2);
	assert_memory_equal(d->blobs[1].data, "You are a test.", d->blobs[1].size);
	assert_int_equal(d->manifest->layer_count, 2);
	model[0] ^= 1;
	{
		struct ollama_description *other = NULL;

		assert_int_equal(parse(bytes, size, model, &other), -EPROTO);
		assert_null(other);
	}
}

/* No byte of it can change, be missing or be added, but those of the name. */
static void test_description_has_one_encoding(void **state)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	uint8_t model[SHA256_SIZE];
	size_t size = make_description("acme/test:1", &bytes), refused = 0;

	model_digest(model);
	for (size_t at = 0; at < size; at++) {
		struct ollama_description *d = NULL;

		assert_int_equal(parse(bytes, at, model, &d), -EPROTO);
		bytes[at] ^= 0x80;
		refused += parse(bytes, size, model, &d) == -EPROTO;
		assert_null(d);
		bytes[at] ^= 0x80;
	}
	assert_int_equal(refused, size);
	{
		_cleanup_free_ uint8_t *longer = calloc(1, size + 1);
		struct ollama_description *d = NULL;

		memcpy(longer, bytes, size);
		assert_int_equal(parse(longer, size + 1, model, &d), -EPROTO);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_description),
		cmocka_unit_test(test_description_has_one_encoding),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
