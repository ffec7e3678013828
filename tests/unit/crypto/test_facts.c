/*
 * crypto/facts: one form, no other. (test_vectors.c has the facts of whole seals.)
 */
#include "crypto/base/cleanup.h"
#include "crypto/facts.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

static void one_form(void **state)
{
	static const char *const good[] = {
		"",
		"kind=gguf\n",
		"k=1\nk.=2\nk.a=3\nka=4\n",
		"-=1\n.=2\n0=3\n_=4\na=5\n",
		"kind==\n",
		"kind= x \n",
		"name=mod\xC3\xA8le \xF0\x9F\x94\x8F\n",
		"name=\xC2\xA0\n",
	};
	static const char *const bad[] = {
		"\n",		"kind",		"kind\n",	    "=x\n",
		"kind=\n",	"kind=x",	"kind=x\n\n",	    "\nkind=x\n",
		"kind=x\ny",	"b=1\na=2\n",	"a=1\na=1\n",	    "a=1\na=2\n",
		"ab=1\na=2\n",	"A=1\n",	"a b=1\n",	    "a:=1\n",
		"\xC3\xA8=1\n", "a=\t\n",	"a=\x1B[2J\n",	    "a=\x7F\n",
		"a=\xC2\x80\n", "a=\xC2\x9B\n", "a=\xC2\x9F\n",	    "a=\r\n",
		"a=\xC3\n",	"a=\xFF\n",	"a=\xED\xA0\x80\n", "a=\xC0\xAF\n",
	};

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_null(facts_problem(good[i], strlen(good[i])));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (!facts_problem(bad[i], strlen(bad[i])))
			fail_msg("%zu was taken", i);
	assert_non_null(facts_problem("a=\0b\n", 5));
	assert_non_null(facts_problem("a\0=b\n", 5));
}

static void limits(void **state)
{
	char text[SEAL_FACTS_MAX + 2], key[FACT_KEY_MAX + 2] = {0};
	struct facts f = {0};

	memset(text, 'v', sizeof(text));
	memcpy(text, "kind=", 5);
	text[SEAL_FACTS_MAX - 1] = '\n';
	assert_null(facts_problem(text, SEAL_FACTS_MAX));
	text[SEAL_FACTS_MAX - 1] = 'v';
	text[SEAL_FACTS_MAX] = '\n';
	assert_non_null(facts_problem(text, SEAL_FACTS_MAX + 1));
	memset(key, 'k', FACT_KEY_MAX + 1);
	assert_int_equal(facts_add(&f, key, "v"), -EINVAL);
	assert_int_equal(facts_add(&f, key + 1, "v"), 0);
	text[SEAL_FACTS_MAX] = '\0';
	assert_int_equal(facts_add(&f, "l", text), -ENOSPC);
	assert_int_equal(f.size, FACT_KEY_MAX + 3);
}

static void adding_and_finding(void **state)
{
	struct facts f = {0};
	struct fact fact;
	size_t at = 0, size = 0;
	const char *value;

	assert_int_equal(facts_add(&f, FACT_GGUF_ARCHITECTURE, "llama"), 0);
	assert_int_equal(facts_add(&f, FACT_KIND, FACT_KIND_GGUF), 0);
	assert_int_equal(facts_add(&f, FACT_KIND, FACT_KIND_OTHER), -EINVAL);
	assert_int_equal(facts_add(&f, "a", "x"), -EINVAL);
	assert_int_equal(facts_add(&f, "z", ""), -EINVAL);
	assert_int_equal(facts_add(&f, "z", "1\nzz=2"), -EINVAL);
	assert_int_equal(facts_add(&f, "z=1\nzz", "2"), -EINVAL);
	assert_string_equal(f.text, "gguf.architecture=llama\nkind=gguf\n");
	assert_int_equal(f.size, strlen(f.text));
	value = facts_find(f.text, FACT_KIND, &size);
	assert_int_equal(size, 4);
	assert_memory_equal(value, "gguf", 4);
	assert_null(facts_find(f.text, "kin", &size));
	assert_null(facts_find(f.text, "kind=", &size));
	assert_null(facts_find("", FACT_KIND, &size));
	assert_true(facts_next(f.text, &at, &fact) && facts_next(f.text, &at, &fact));
	assert_false(facts_next(f.text, &at, &fact));
	assert_int_equal(at, f.size);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_form),
		cmocka_unit_test(limits),
		cmocka_unit_test(adding_and_finding),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
