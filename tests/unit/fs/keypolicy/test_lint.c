/*
 * The linter: policies with one hole each, policies with none, and published ones
 * (tests/vectors/policy/): exactly the holes that are expected.
 */
#include "tests/unit/fs/keypolicy/vectors.h"

#include "fs/keypolicy/lint.h"

static bool expected(const json_t *vector, const char *id)
{
	const json_t *ids = json_object_get(vector, "holes");

	for (size_t i = 0; i < json_array_size(ids); i++)
		if (strcmp(keypolicy_text(ids, i), id) == 0)
			return true;
	return false;
}

static bool found(const struct keypolicy_holes *holes, const char *id)
{
	for (size_t i = 0; i < holes->count; i++)
		if (strcmp(keypolicy_hole_id(holes->list[i].kind), id) == 0)
			return true;
	return false;
}

static size_t lint_all(const char *file, bool seen[HOLE_KINDS])
{
	_cleanup_json_ json_t *vectors = vectors_load(file);
	struct keypolicy_holes holes;
	size_t i, wrong = 0;
	json_t *vector;

	json_array_foreach (vectors, i, vector) {
		_cleanup_(keypolicy_freep) struct keypolicy *p = vectors_policy(vector);
		const json_t *ids = json_object_get(vector, "holes");
		const char *id;

		assert_int_equal(keypolicy_lint(p, &holes, NULL), 0);
		for (size_t n = 0; n < holes.count; n++) {
			id = keypolicy_hole_id(holes.list[n].kind);
			if (expected(vector, id)) {
				if (json_array_size(ids) == 1)
					seen[holes.list[n].kind] = true;
				continue;
			}
			print_error("%s: %s is no hole of statement %zu (%s %s)\n",
				    json_text(vector, "name"), id, holes.list[n].statement + 1,
				    holes.list[n].who,
				    holes.list[n].action ? holes.list[n].action : "");
			wrong++;
		}
		for (size_t n = 0; (id = keypolicy_text(ids, n)) != NULL; n++) {
			if (found(&holes, id))
				continue;
			print_error("%s: %s was not found\n", json_text(vector, "name"), id);
			wrong++;
		}
	}
	return wrong;
}

static void test_holes(void **state)
{
	bool seen[HOLE_KINDS] = {false};

	(void)state;
	assert_int_equal(lint_all("holes.json", seen), 0);
	/* Each has a policy that has only it. */
	for (int kind = 0; kind < HOLE_KINDS; kind++)
		if (!seen[kind])
			fail_msg("no policy has only %s", keypolicy_hole_id(kind));
	assert_int_equal(lint_all("published.json", seen), 0);
}

/* Which statement, for whom, and whether a Deny closes it. */
static void test_details(void **state)
{
	static const char text[] =
		"{\"Statement\":[{\"Effect\":\"Deny\",\"Principal\":\"*\",\"Action\":"
		"\"kms:CreateGrant\",\"Resource\":\"*\"},{\"Effect\":\"Allow\",\"Principal\":"
		"{\"AWS\":\"arn:aws:iam::1:role/a\"},\"Action\":[\"kms:CreateGrant\","
		"\"kms:ReEncryptFrom\"],\"Resource\":\"*\"}]}";
	_cleanup_(keypolicy_freep) struct keypolicy *p = NULL;
	struct keypolicy_holes holes;

	(void)state;
	assert_int_equal(keypolicy_parse(text, strlen(text), "p", &p, NULL), 0);
	assert_int_equal(keypolicy_lint(p, &holes, NULL), 0);
	assert_int_equal(holes.count, 2);
	for (size_t i = 0; i < 2; i++) {
		bool grants = holes.list[i].kind == HOLE_GRANTS;

		assert_true(grants || holes.list[i].kind == HOLE_REENCRYPT);
		assert_int_equal(holes.list[i].statement, 1);
		assert_int_equal(holes.list[i].closed_by, grants ? 0 : 2);
		assert_string_equal(holes.list[i].who, "arn:aws:iam::1:role/a");
		assert_string_equal(holes.list[i].action,
				    grants ? "kms:CreateGrant" : "kms:ReEncryptFrom");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_holes),
		cmocka_unit_test(test_details),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
