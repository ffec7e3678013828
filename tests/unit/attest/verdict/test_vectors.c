/*
 * Every case of tests/vectors/verdict/, judged as an independent program written from VERDICT.md
 * judged it: the status of each step, the reasons, the exit code, the sentence.
 */
#include "tests/unit/attest/verdict/request_json.h"
#include "tests/unit/test.h"

#include "crypto/base/encode.h"

#include <dirent.h>
#include <string.h>

#define VECTORS TEST_SOURCE_ROOT "/tests/vectors/verdict"
#define CASES_MIN 60
#define DECODE_PREFIX "the document cannot be decoded: "

static unsigned problems;

static void differ(const char *name, const char *what, const char *found, const char *wanted)
{
	print_error("%s: %s: \"%s\", expected \"%s\"\n", name, what, found, wanted);
	problems++;
}

static bool same_reason(const char *found, const char *wanted)
{
	size_t prefix = strlen(DECODE_PREFIX);

	if (strncmp(wanted, DECODE_PREFIX, prefix) == 0)
		return strncmp(found, wanted, prefix) == 0;
	return strcmp(found, wanted) == 0;
}

static bool same_digest(const json_t *member, const char *kind, const uint8_t *digest, size_t size,
			bool is_there)
{
	const char *text = json_string_value(json_object_get(member, kind));
	char digits[2 * SHA384_SIZE + 1];

	hex_encode(digest, size, digits);
	return is_there ? text && strcmp(text, digits) == 0 : !text;
}

static void compare_members(const char *name, const struct verdict *v, const json_t *members)
{
	bool passed = v->steps[STEP_MODEL].status == STATUS_PASSED;

	if (!members)
		return;
	if (json_array_size(members) != (passed ? v->member_count : 0))
		differ(name, "members", "a number", "another");
	for (size_t i = 0; i < json_array_size(members) && i < v->member_count; i++) {
		const json_t *wanted = json_array_get(members, i);
		const struct held_member *m = &v->members[i];

		if (strcmp(m->path, json_string_value(json_object_get(wanted, "path"))) != 0 ||
		    (json_int_t)m->length !=
			    json_integer_value(json_object_get(wanted, "length")) ||
		    !same_digest(wanted, "verity", m->verity, SHA256_SIZE, true) ||
		    !same_digest(wanted, "sha256", m->sha256, SHA256_SIZE, m->is_stated) ||
		    !same_digest(wanted, "sha384", m->sha384, SHA384_SIZE, m->is_stated))
			differ(name, "member", m->path, "another");
	}
}

static void compare(const char *name, const struct verdict *v, const json_t *expect)
{
	const json_t *steps = json_object_get(expect, "steps");
	const json_t *reasons = json_object_get(expect, "reasons");
	const char *sentence = json_string_value(json_object_get(expect, "sentence"));
	char reason[1024];

	if ((json_int_t)v->exit_code != json_integer_value(json_object_get(expect, "exit_code")))
		differ(name, "exit code", v->sentence, sentence);
	if (v->steps[STEP_DECODE].status == STATUS_PASSED && strcmp(v->sentence, sentence) != 0)
		differ(name, "sentence", v->sentence, sentence);
	for (enum verdict_step s = 0; s < STEP_COUNT; s++) {
		const char *step = verdict_step_name(s);
		const char *status = verdict_status_name(v->steps[s].status);
		const char *wanted = json_string_value(json_object_get(steps, step));
		const char *why = json_string_value(json_object_get(reasons, step));

		if (strcmp(status, wanted) != 0)
			differ(name, step, status, wanted);
		else if (why && !same_reason(v->steps[s].reason, why))
			differ(name, step, v->steps[s].reason, why);
	}
	compare_members(name, v, json_object_get(expect, "members"));
	(void)snprintf(reason, sizeof(reason), "Not verified: ");
	if (verdict_ok(v) == (strncmp(v->sentence, reason, strlen(reason)) == 0))
		differ(name, "verified", v->sentence, sentence);
}

static void test_cases(void **state)
{
	_cleanup_closedir_ DIR *dir = opendir(VECTORS);
	const struct dirent *entry;
	unsigned count = 0;

	(void)state;
	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		static struct verdict_case c;
		struct verdict *v = NULL;
		struct error err = {0};
		char path[600];

		if (!strstr(entry->d_name, ".json"))
			continue;
		(void)snprintf(path, sizeof(path), VECTORS "/%s", entry->d_name);
		case_load(path, &c);
		if (verdict_judge(&c.req, &v, &err) < 0)
			differ(entry->d_name, "judged", err.message, "a verdict");
		else
			compare(entry->d_name, v, c.expect);
		verdict_free(v);
		case_clear(&c);
		count++;
	}
	assert_true(count >= CASES_MIN);
	assert_int_equal(problems, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
