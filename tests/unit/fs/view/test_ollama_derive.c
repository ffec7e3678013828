/* fs/view/ollama_derive: configuration, template and stop words from facts. */
#include "fs/view/ollama_derive.h"

#include "crypto/base/cleanup.h"
#include "tests/unit/test.h"

#include <string.h>

static void test_derive(void **state)
{
	static const struct {
		const char *facts, *config;
	} cases[] = {
		{"", "\"unknown\",\"model_families\":[\"unknown\"],\"model_type\":\"0\","
		     "\"file_type\":\"unknown\",\"arch"},
		{"gguf.architecture=gpt-oss\ngguf.file-type=MXFP4_MOE\n"
		 "gguf.parameters=20914757184\n",
		 "\"gpt-oss\",\"model_families\":[\"gpt-oss\"],\"model_type\":\"20.9B\","
		 "\"file_type\":\"MXFP4_MOE\",\"arch"},
		{"gguf.file-type=F32\ngguf.parameters=7000000000\n",
		 "\"model_type\":\"7B\",\"file_type\":\"unknown\""},
		{"gguf.file-type=4711\ngguf.parameters=46560000\n",
		 "\"model_type\":\"46.56M\",\"file_type\":\"unknown\""},
		{"gguf.parameters=3000000\n", "\"model_type\":\"3M\""},
		{"gguf.parameters=1500\n", "\"model_type\":\"2K\""},
		{"gguf.parameters=999\n", "\"model_type\":\"999\""},
		{"gguf.architecture=a\"b\n", "\"model_family\":\"unknown\""},
		{"gguf.architecture=gemma4\n", "\"renderer\":\"gemma4\",\"parser\":\"gemma4\""},
		{"gguf.architecture=nemotron_h_moe\n", "\"parser\":\"nemotron-3-nano\""},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_free_ char *config = ollama_derive_config(cases[i].facts);

		assert_non_null(config);
		assert_non_null(strstr(config, cases[i].config));
	}
	assert_string_equal(ollama_derive_stops("gguf.architecture=gemma4\n"), "[\"<turn|>\"]");
	assert_null(ollama_derive_template("gguf.architecture=gemma4\n"));
	assert_null(ollama_derive_template("gguf.chat-format=unheard-of\n"));
	assert_non_null(strstr(ollama_derive_template("gguf.chat-format=chatml\n"),
			       "<|im_start|>{{ .Role }}"));
	assert_non_null(strstr(ollama_derive_stops("gguf.chat-format=llama3\n"), "<|eot_id|>"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_derive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
