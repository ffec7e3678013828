/* fs/formats/ollama_manifest: manifests that are refused, and the shortest that is not. */
#include "fs/formats/ollama_manifest.h"

#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

static void test_manifests_refused(void **state)
{
#define LAYER(kind, digest, size) \
	"{\"mediaType\":\"" OLLAMA_IMAGE kind "\",\"digest\":\"" digest "\",\"size\":" size "}"
#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"
	static const char *const bad[] = {
		"",
		"[]",
		"{}",
		"{\"layers\":{}}",
		"{\"layers\":[]}",
		"{\"layers\":[1]}",
		"{\"layers\":[" LAYER("system", "sha256:" ZEROS, "1") "]}",
		"{\"layers\":[" LAYER("model", "sha256-" ZEROS, "1") "]}",
		"{\"layers\":[" LAYER("model", "sha256:" ZEROS "0", "1") "]}",
		"{\"layers\":[" LAYER("model", "sha256:../../../../etc/passwd", "1") "]}",
		"{\"layers\":[" LAYER("model", "sha256:" ZEROS, "-1") "]}",
		"{\"layers\":[" LAYER("model", "sha256:" ZEROS, "1.0") "]}",
		"{\"layers\":[" LAYER("model", "sha256:" ZEROS, "17592186044417") "]}",
		"{\"layers\":[" LAYER("model", "sha256:" ZEROS, "\"1\"") "]}",
		"{\"layers\":[" LAYER("model", "sha256:" ZEROS, "1") "],\"layers\":[]}",
		"{\"layers\":[" LAYER("model", "sha256:" ZEROS,
				      "1") "," LAYER("model", "sha256:" ZEROS, "1") "]}",
		"{\"config\":{\"digest\":\"x\"},\"layers\":[" LAYER("model", "sha256:" ZEROS,
								    "1") "]}",
	};
	static const char good[] = "{\"config\":{\"digest\":\"\"},\"layers\":[" LAYER(
		"model", "sha256:" ZEROS, "1") "]}\n";
	struct ollama_manifest *m = NULL;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(ollama_manifest_parse(bad[i], strlen(bad[i]), &m, NULL), -EPROTO);
	assert_null(m);
	assert_int_equal(ollama_manifest_parse(good, strlen(good), &m, NULL), 0);
	assert_false(m->has_config);
	free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_manifests_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
