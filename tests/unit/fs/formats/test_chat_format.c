/* fs/formats/chat_format: which templates are recognised. */
#include "fs/formats/chat_format.h"

#include "crypto/base/cleanup.h"
#include "tests/unit/test.h"

#include <string.h>

static void test_chat_formats(void **state)
{
	static const struct {
		const char *text, *name;
	} cases[] = {
		{"{{'<|im_start|>' + m['role'] + m['content'] + '<|im_end|>'}}", "chatml"},
		{"{{'<|im_start|>' + m['role'] + '<|im_end|>'}}{% if tools %}", NULL},
		{"{{'<|im_start|>' + m['role'] + '<|im_end|>'}}<think></think>", NULL},
		{"{{'<|im_start|>'}}", NULL},
		{"[INST] {{ m['content'] }} [/INST]{{ eos_token }}", "mistral"},
		{"[INST] <<SYS>>{{ s }}<</SYS>> {{ m['content'] }} [/INST]{{ eos_token }}",
		 "llama2"},
		{"<|user|>\n{{ m }}{{ eos_token }}<|assistant|>", "zephyr"},
		{"<|user|>\n{{ m }}<|end|><|assistant|>{{ eos_token }}", "phi3"},
		{"<|im_start|><|im_end|><start_of_turn>model<end_of_turn>", NULL},
		{"", NULL},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct chat_format *f = chat_format_detect(cases[i].text);

		assert_int_equal(f != NULL, cases[i].name != NULL);
		if (!f)
			continue;
		assert_string_equal(f->name, cases[i].name);
		assert_ptr_equal(chat_format_find(f->name, strlen(f->name)), f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chat_formats),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
