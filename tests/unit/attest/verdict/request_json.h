/*
 * A case of tests/vectors/verdict/ as a request (VERDICT.md, "Vectors"). One case at a time; what
 * it holds is freed by case_clear().
 */
#ifndef SEALEDFS_TEST_REQUEST_JSON_H
#define SEALEDFS_TEST_REQUEST_JSON_H

#include "attest/verdict/verdict.h"

#include <jansson.h>

#define CASE_LIST_MAX 64

struct verdict_case {
	json_t *json, *request, *expect;
	struct verdict_request req;
	struct verdict_boot boot[CASE_LIST_MAX];
	struct verdict_model models[CASE_LIST_MAX];
	struct seal *seals[CASE_LIST_MAX];
	struct set *sets[CASE_LIST_MAX];
	const char *members[CASE_LIST_MAX];
	const char *owner_names[CASE_LIST_MAX];
	char *kms[CASE_LIST_MAX];
	struct owner_keys *owners;
	uint8_t *owned[CASE_LIST_MAX];
	size_t owned_count;
};

void case_load(const char *path, struct verdict_case *c);
void case_clear(struct verdict_case *c);

#endif
