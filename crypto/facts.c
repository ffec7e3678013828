/*
 * Facts about a model. Job: one form for writing and reading them. Trusts nothing. Must never
 * accept two encodings of the same facts, nor a byte that could forge a line.
 */
#include "crypto/facts.h"

#include "crypto/name.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static bool key_is_good(const char *key, size_t size)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789._-";

	for (size_t i = 0; i < size; i++)
		if (key[i] == '\0' || !strchr(allowed, key[i]))
			return false;
	return size > 0 && size <= FACT_KEY_MAX;
}

/* Byte order; a prefix comes before what it begins. */
static int compare_keys(const struct fact *a, const struct fact *b)
{
	int order = memcmp(a->key, b->key, a->key_size < b->key_size ? a->key_size : b->key_size);

	if (order != 0)
		return order;
	return a->key_size < b->key_size ? -1 : a->key_size > b->key_size;
}

/* One line of size bytes without its newline. */
static const char *line_problem(const char *line, size_t size, struct fact *ret)
{
	const char *equals = memchr(line, '=', size);

	if (!equals)
		return "a fact has no =";
	*ret = (struct fact){
		.key = line,
		.value = equals + 1,
		.key_size = (size_t)(equals - line),
		.value_size = size - (size_t)(equals - line) - 1,
	};
	if (!key_is_good(ret->key, ret->key_size))
		return "a fact's key is not 1 to 48 of a-z, 0-9, '.', '_' and '-'";
	if (ret->value_size == 0)
		return "a fact's value is empty";
	if (!utf8_valid(ret->value, ret->value_size))
		return "a fact's value is not UTF-8";
	if (utf8_has_control(ret->value, ret->value_size))
		return "a fact's value holds a control character";
	return NULL;
}

const char *facts_problem(const void *text, size_t size)
{
	const char *p = text, *end = p + size, *problem;
	struct fact last = {0}, fact;

	if (size > SEAL_FACTS_MAX)
		return "the facts are longer than 640 bytes";
	while (p < end) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));

		if (!newline)
			return "the last fact has no newline";
		problem = line_problem(p, (size_t)(newline - p), &fact);
		if (problem)
			return problem;
		if (last.key && compare_keys(&last, &fact) >= 0)
			return "the facts are not in ascending order of their keys";
		last = fact;
		p = newline + 1;
	}
	return NULL;
}

int facts_add(struct facts *facts, const char *key, const char *value)
{
	size_t key_size = strlen(key), value_size = strlen(value);
	size_t size = facts->size + key_size + value_size + 2;
	struct fact fact;

	if (size > SEAL_FACTS_MAX)
		return -ENOSPC;
	(void)snprintf(facts->text + facts->size, sizeof(facts->text) - facts->size, "%s=%s\n", key,
		       value);
	if (line_problem(facts->text + facts->size, size - facts->size - 1, &fact) ||
	    facts_problem(facts->text, size)) {
		facts->text[facts->size] = '\0';
		return -EINVAL;
	}
	facts->size = size;
	return 0;
}

bool facts_next(const char *text, size_t *at, struct fact *ret)
{
	const char *line = text + *at;
	size_t size = strcspn(line, "\n");

	if (size == 0 || line_problem(line, size, ret))
		return false;
	*at += size + 1;
	return true;
}

const char *facts_find(const char *text, const char *key, size_t *ret_size)
{
	struct fact fact;
	size_t at = 0;

	while (facts_next(text, &at, &fact)) {
		if (fact.key_size != strlen(key) || memcmp(fact.key, key, fact.key_size) != 0)
			continue;
		*ret_size = fact.value_size;
		return fact.value;
	}
	return NULL;
}
