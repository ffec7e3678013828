/* vectors.h: the JSON of tests/vectors/policy/, read for a test. */
#ifndef SEALEDFS_TEST_POLICY_VECTORS_H
#define SEALEDFS_TEST_POLICY_VECTORS_H

#include "tests/unit/test.h"

#include "crypto/base/json.h"
#include "fs/keypolicy/policy.h"

#include <string.h>

static inline json_t *vectors_load(const char *name)
{
	json_error_t e;
	char path[512];
	json_t *list;

	(void)snprintf(path, sizeof(path), TEST_SOURCE_ROOT "/tests/vectors/policy/%s", name);
	list = json_load_file(path, 0, &e);
	if (!list)
		fail_msg("%s: %s", path, e.text);
	assert_true(json_array_size(list) > 5);
	return list;
}

static inline struct keypolicy *vectors_policy(const json_t *vector)
{
	_cleanup_free_ char *text = json_dumps(json_object_get(vector, "policy"), JSON_COMPACT);
	struct keypolicy *p = NULL;
	struct error err = {0};

	if (keypolicy_parse(text, strlen(text), "policy", &p, &err) < 0)
		fail_msg("%s: %s", json_text(vector, "name"), err.message);
	return p;
}

#endif
