/*
 * Ollama's names. Job: its rules for them (types/model/name.go of Ollama 0.33), and a name for
 * whatever path a bucket holds. Trusts nothing; what it gives out is always four valid parts, none
 * of which can be "." or ".." or hold a '/'.
 */
#include "fs/formats/ollama_name.h"

#include "crypto/base/digest.h"
#include "crypto/base/encode.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define GGUF_SUFFIX ".gguf"
#define DISTINCT_DIGITS 8

enum part { PART_HOST, PART_SPACE, PART_MODEL, PART_TAG };

/* Not the C locale's isalnum(): Ollama knows ASCII only. */
static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_';
}

static bool is_inner(enum part part, char c)
{
	return is_word(c) || c == '-' || (c == '.' && part != PART_SPACE) ||
	       (c == ':' && part == PART_HOST);
}

static const char *part_problem(enum part part, const char *text, size_t size)
{
	static const char *const empty[] = {"the host is empty", "the namespace is empty",
					    "the model is empty", "the tag is empty"};

	if (size == 0)
		return empty[part];
	if (size > (part == PART_HOST ? OLLAMA_HOST_MAX : OLLAMA_PART_MAX))
		return part == PART_HOST ? "the host is longer than 255 characters"
					 : "a part is longer than 80 characters";
	if (!is_word(text[0]))
		return "a part does not begin with a letter, digit or _";
	for (size_t i = 1; i < size; i++)
		if (!is_inner(part, text[i]))
			return "only letters, digits, _, - and . are allowed (no . in the "
			       "namespace)";
	return NULL;
}

static const char *take_part(enum part part, const char *text, size_t size, char *out)
{
	const char *problem = part_problem(part, text, size);

	if (!problem) {
		memcpy(out, text, size);
		out[size] = '\0';
	}
	return problem;
}

/* The last c in the first *size bytes; true: *size ends before it, and *ret is what follows. */
static bool cut_last(const char *text, size_t *size, char c, const char **ret, size_t *ret_size)
{
	for (size_t i = *size; i > 0; i--) {
		if (text[i - 1] != c)
			continue;
		*ret = text + i;
		*ret_size = *size - i;
		*size = i - 1;
		return true;
	}
	return false;
}

const char *ollama_name_parse(const char *text, struct ollama_name *ret)
{
	struct ollama_name n = {.host = OLLAMA_HOST_DEFAULT,
				.space = OLLAMA_NAMESPACE_DEFAULT,
				.tag = OLLAMA_TAG_DEFAULT};
	const char *slash = strrchr(text, '/'), *colon = strrchr(text, ':'), *part = NULL;
	size_t size = strlen(text), part_size = 0;
	const char *problem = NULL;

	if (strstr(text, "://"))
		return "it has a scheme, as in http://";
	/* A colon before the last slash belongs to the host. */
	if (colon && (!slash || colon > slash) && cut_last(text, &size, ':', &part, &part_size))
		problem = take_part(PART_TAG, part, part_size, n.tag);
	if (!problem && cut_last(text, &size, '/', &part, &part_size)) {
		problem = take_part(PART_MODEL, part, part_size, n.model);
		if (!problem && cut_last(text, &size, '/', &part, &part_size)) {
			problem = take_part(PART_SPACE, part, part_size, n.space);
			if (!problem)
				problem = take_part(PART_HOST, text, size, n.host);
		} else if (!problem) {
			problem = take_part(PART_SPACE, text, size, n.space);
		}
	} else if (!problem) {
		problem = take_part(PART_MODEL, text, size, n.model);
	}
	if (!problem)
		*ret = n;
	return problem;
}

/* size bytes of text as a part: each run of what is not allowed becomes one '-'. */
static size_t fold(enum part part, const char *text, size_t size, char *out, size_t out_max)
{
	size_t n = 0;

	for (size_t i = 0; i < size && n < out_max; i++) {
		bool fits =
			n == 0 ? is_word(text[i]) : part != PART_HOST && is_inner(part, text[i]);

		if (fits)
			out[n++] = text[i];
		else if (n > 0 && out[n - 1] != '-')
			out[n++] = '-';
	}
	while (n > 0 && (out[n - 1] == '-' || out[n - 1] == '.'))
		n--;
	out[n] = '\0';
	return n;
}

static int add_digits(const char *path, char *part)
{
	uint8_t digest[SHA256_SIZE];
	char digits[DISTINCT_DIGITS + 1];
	size_t n = strlen(part);
	int r = digest_buffer(DIGEST_SHA256, path, strlen(path), digest);

	if (r < 0)
		return r;
	hex_encode(digest, DISTINCT_DIGITS / 2, digits);
	if (n > OLLAMA_PART_MAX - DISTINCT_DIGITS - 1)
		n = OLLAMA_PART_MAX - DISTINCT_DIGITS - 1;
	part[n] = '-';
	memcpy(part + n + 1, digits, sizeof(digits));
	return 0;
}

/* At most four times a part's limit is read: more would be cut anyway. */
static bool is_too_long(size_t folded)
{
	return folded > OLLAMA_PART_MAX;
}

int ollama_name_of_path(const char *path, bool distinct, struct ollama_name *ret)
{
	struct ollama_name n = {.host = OLLAMA_HOST_DEFAULT,
				.space = OLLAMA_NAMESPACE_DEFAULT,
				.tag = OLLAMA_TAG_DEFAULT};
	char folded[4 * OLLAMA_PART_MAX + 1];
	const char *slash = strrchr(path, '/');
	const char *leaf = slash ? slash + 1 : path;
	size_t size = strlen(leaf), suffix = sizeof(GGUF_SUFFIX) - 1;
	int r = 0;

	if (size > suffix && strcasecmp(leaf + size - suffix, GGUF_SUFFIX) == 0)
		size -= suffix;
	size = fold(PART_MODEL, leaf, size, folded, sizeof(folded) - 1);
	memcpy(n.model, size ? folded : "model", MIN(size ? size + 1 : 6, sizeof(n.model)));
	n.model[OLLAMA_PART_MAX] = '\0';
	if (distinct || is_too_long(size))
		r = add_digits(path, n.model);
	if (slash && r == 0) {
		size = fold(PART_SPACE, path, (size_t)(slash - path), folded, sizeof(folded) - 1);
		if (size > 0)
			memcpy(n.space, folded, MIN(size + 1, sizeof(n.space)));
		n.space[OLLAMA_PART_MAX] = '\0';
		if (is_too_long(size)) {
			_cleanup_free_ char *dir = strndup(path, (size_t)(slash - path));

			r = dir ? add_digits(dir, n.space) : -ENOMEM;
		}
	}
	if (r == 0)
		*ret = n;
	return r;
}

void ollama_name_full(const struct ollama_name *n, char out[OLLAMA_NAME_MAX + 1])
{
	(void)snprintf(out, OLLAMA_NAME_MAX + 1, "%s/%s/%s:%s", n->host, n->space, n->model,
		       n->tag);
}

void ollama_name_short(const struct ollama_name *n, char out[OLLAMA_NAME_MAX + 1])
{
	bool host = strcmp(n->host, OLLAMA_HOST_DEFAULT) != 0;
	bool space = host || strcmp(n->space, OLLAMA_NAMESPACE_DEFAULT) != 0;
	bool tag = strcmp(n->tag, OLLAMA_TAG_DEFAULT) != 0;

	(void)snprintf(out, OLLAMA_NAME_MAX + 1, "%s%s%s%s%s%s%s", host ? n->host : "",
		       host ? "/" : "", space ? n->space : "", space ? "/" : "", n->model,
		       tag ? ":" : "", tag ? n->tag : "");
}

static const char *one_host(const char *host)
{
	return strcasecmp(host, OLLAMA_HOST_NEWER) == 0 ? OLLAMA_HOST_DEFAULT : host;
}

int ollama_name_compare(const struct ollama_name *a, const struct ollama_name *b)
{
	int order = strcasecmp(one_host(a->host), one_host(b->host));

	if (order == 0)
		order = strcasecmp(a->space, b->space);
	if (order == 0)
		order = strcasecmp(a->model, b->model);
	return order ? order : strcasecmp(a->tag, b->tag);
}
