/*
 * Parameters. Job: refuse when sealing what Ollama would refuse at each request (a wrong type) or
 * silently drop (an unknown name). The names and types are those of
 * api.Options in Ollama 0.33.
 */
#include "tools/seal/ollama_params.h"

#include "crypto/base/json.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#define NAME_MAX_SIZE 40

enum kind { KIND_NONE, KIND_INTEGER, KIND_NUMBER, KIND_BOOLEAN, KIND_TEXTS };

static const struct {
	const char *name;
	enum kind kind;
} options[] = {
	{"draft_num_predict", KIND_INTEGER},
	{"frequency_penalty", KIND_NUMBER},
	{"main_gpu", KIND_INTEGER},
	{"min_p", KIND_NUMBER},
	{"num_batch", KIND_INTEGER},
	{"num_ctx", KIND_INTEGER},
	{"num_gpu", KIND_INTEGER},
	{"num_keep", KIND_INTEGER},
	{"num_predict", KIND_INTEGER},
	{"num_thread", KIND_INTEGER},
	{"presence_penalty", KIND_NUMBER},
	{"repeat_last_n", KIND_INTEGER},
	{"repeat_penalty", KIND_NUMBER},
	{"seed", KIND_INTEGER},
	{"stop", KIND_TEXTS},
	{"temperature", KIND_NUMBER},
	{"top_k", KIND_INTEGER},
	{"top_p", KIND_NUMBER},
	{"typical_p", KIND_NUMBER},
	{"use_mmap", KIND_BOOLEAN},
};

static enum kind kind_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		if (strcmp(options[i].name, name) == 0)
			return options[i].kind;
	return KIND_NONE;
}

static int wrong(struct error *err, const char *name, enum kind kind)
{
	static const char *const words[] = {
		[KIND_INTEGER] = "a whole number",
		[KIND_NUMBER] = "a number",
		[KIND_BOOLEAN] = "true or false",
		[KIND_TEXTS] = "a list of texts",
	};

	if (kind == KIND_NONE)
		return error_set(err, -EINVAL, "Ollama has no parameter \"%.*s\"", NAME_MAX_SIZE,
				 name);
	return error_set(err, -EINVAL, "the parameter %s must be %s", name, words[kind]);
}

static bool fits(const json_t *value, enum kind kind)
{
	switch (kind) {
	case KIND_INTEGER:
		return json_is_integer(value);
	case KIND_NUMBER:
		return json_is_number(value);
	case KIND_BOOLEAN:
		return json_is_boolean(value);
	case KIND_TEXTS:
		for (size_t i = 0; i < json_array_size(value); i++)
			if (!json_is_string(json_array_get(value, i)))
				return false;
		return json_is_array(value);
	default:
		return false;
	}
}

static json_t *parse_integer(const char *text)
{
	char *end = NULL;
	long long v;

	errno = 0;
	v = strtoll(text, &end, 10);
	return errno || end == text || *end ? NULL : json_integer(v);
}

static json_t *parse_number(const char *text)
{
	char *end = NULL;
	double v = strtod(text, &end);

	return end == text || *end || !isfinite(v) ? NULL : json_real(v);
}

/* The value for one option; NULL: of another type, or no memory. */
static json_t *parse_value(const json_t *params, const char *text, enum kind kind)
{
	json_t *texts;

	switch (kind) {
	case KIND_INTEGER:
		return parse_integer(text);
	case KIND_NUMBER:
		return parse_number(text);
	case KIND_BOOLEAN:
		if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
			return NULL;
		return json_boolean(text[0] == 't');
	default:
		texts = json_copy(json_object_get(params, "stop"));
		if (!texts)
			texts = json_array();
		if (json_array_append_new(texts, json_string(text)) == 0)
			return texts;
		json_decref(texts);
		return NULL;
	}
}

int ollama_params_set(json_t *params, const char *pair, struct error *err)
{
	size_t size = strcspn(pair, "=");
	char name[NAME_MAX_SIZE + 1];
	enum kind kind;
	json_t *value;

	(void)snprintf(name, sizeof(name), "%.*s", (int)MIN(size, sizeof(name) - 1), pair);
	kind = size < sizeof(name) && pair[size] == '=' ? kind_of(name) : KIND_NONE;
	value = kind == KIND_NONE ? NULL : parse_value(params, pair + size + 1, kind);
	if (!value)
		return wrong(err, name, kind);
	return json_object_set_new(params, name, value) < 0 ? -ENOMEM : 0;
}

static int add_object(json_t *params, json_t *object, const char *label, struct error *err)
{
	const char *name;
	json_t *value;

	json_object_foreach (object, name, value) {
		enum kind kind = kind_of(name);

		if (!fits(value, kind))
			return error_prefix(err, wrong(err, name, kind), "%s", label);
		if (json_object_set(params, name, value) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int add_lines(json_t *params, const char *text, size_t size, const char *label,
		     struct error *err)
{
	_cleanup_free_ char *copy = strndup(text, size);
	char *save = NULL;

	if (!copy)
		return -ENOMEM;
	for (char *line = strtok_r(copy, "\r\n", &save); line;
	     line = strtok_r(NULL, "\r\n", &save)) {
		int r;

		line += strspn(line, " \t");
		if (*line == '\0' || *line == '#')
			continue;
		r = ollama_params_set(params, line, err);
		if (r < 0)
			return error_prefix(err, r, "%s", label);
	}
	return 0;
}

int ollama_params_add(json_t *params, const char *text, size_t size, const char *label,
		      struct error *err)
{
	size_t at = 0;
	json_t *object;
	int r;

	while (at < size && strchr(" \t\r\n", text[at]))
		at++;
	if (at == size || text[at] != '{')
		return add_lines(params, text, size, label, err);
	object = json_object_parse(text, size);
	if (!object)
		return error_set(err, -EINVAL, "%s is not a JSON object", label);
	r = add_object(params, object, label, err);
	json_decref(object);
	return r;
}

char *ollama_params_text(const json_t *params)
{
	return json_dumps(params, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(9));
}
