/*
 * What Ollama derives. Job: Ollama's own rules (server/create.go, format/format.go and fs/ggml of
 * 0.33), applied to facts. Trusts facts to be well-formed and to fit the file: the
 * sealer states them, and only names, numbers and a known template are made from them.
 */
#include "fs/view/ollama_derive.h"

#include "crypto/base/cleanup.h"
#include "crypto/facts.h"
#include "fs/formats/chat_format.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_SIZE 65

/* Ollama's renderers and parsers for these architectures. */
static const struct {
	const char *architecture, *renderer, *stops;
} renderers[] = {
	{"gemma4", "gemma4", "[\"<turn|>\"]"},	      {"laguna", "laguna", NULL},
	{"nemotron_h", "nemotron-3-nano", NULL},      {"nemotron_h_moe", "nemotron-3-nano", NULL},
	{"nemotron_h_omni", "nemotron-3-nano", NULL},
};

static bool is(const char *facts, const char *key, const char *value)
{
	size_t size = 0;
	const char *found = facts_find(facts, key, &size);

	return found && size == strlen(value) && memcmp(found, value, size) == 0;
}

/* A word that needs no escaping in JSON; else the word for "not known". */
static const char *word(const char *facts, const char *key, char buf[TEXT_SIZE])
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789-_.";
	size_t size = 0;
	const char *found = facts_find(facts, key, &size);

	if (!found || size >= TEXT_SIZE)
		return "unknown";
	memcpy(buf, found, size);
	buf[size] = '\0';
	return strspn(buf, allowed) == size ? buf : "unknown";
}

/* format.HumanNumber(). */
static void human_number(uint64_t n, char buf[TEXT_SIZE])
{
	if (n >= 1000000000)
		(void)snprintf(buf, TEXT_SIZE, n % 1000000000 ? "%.1fB" : "%.0fB", (double)n / 1e9);
	else if (n >= 1000000)
		(void)snprintf(buf, TEXT_SIZE, n % 1000000 ? "%.2fM" : "%.0fM", (double)n / 1e6);
	else if (n >= 1000)
		(void)snprintf(buf, TEXT_SIZE, "%.0fK", (double)n / 1e3);
	else
		(void)snprintf(buf, TEXT_SIZE, "%u", (unsigned)n);
}

/* A number is a type without a name, and F32 is 0, which Ollama takes for none. */
static const char *file_type(const char *facts, char buf[TEXT_SIZE])
{
	const char *type = word(facts, FACT_GGUF_FILE_TYPE, buf);

	return (*type >= '0' && *type <= '9') || strcmp(type, "F32") == 0 ? "unknown" : type;
}

static size_t find_renderer(const char *facts)
{
	for (size_t i = 0; i < ARRAY_LEN(renderers); i++)
		if (is(facts, FACT_GGUF_ARCHITECTURE, renderers[i].architecture))
			return i;
	return ARRAY_LEN(renderers);
}

char *ollama_derive_config(const char *facts)
{
	char family_buf[TEXT_SIZE], type_buf[TEXT_SIZE], parameters[TEXT_SIZE], words[TEXT_SIZE];
	const char *family = word(facts, FACT_GGUF_ARCHITECTURE, family_buf);
	size_t renderer = find_renderer(facts);
	char *renderer_text = NULL, *text;
	int n;

	/* 0 when unknown, as with Ollama. */
	human_number(strtoull(word(facts, FACT_GGUF_PARAMETERS, words), NULL, 10), parameters);
	if (renderer < ARRAY_LEN(renderers) &&
	    asprintf(&renderer_text, "\"renderer\":\"%s\",\"parser\":\"%s\",",
		     renderers[renderer].renderer, renderers[renderer].renderer) < 0)
		return NULL;
	n = asprintf(&text,
		     "{\"model_format\":\"gguf\",\"model_family\":\"%s\","
		     "\"model_families\":[\"%s\"],\"model_type\":\"%s\",\"file_type\":\"%s\",%s"
		     "\"architecture\":\"amd64\",\"os\":\"linux\"}",
		     family, family, parameters, file_type(facts, type_buf),
		     renderer_text ? renderer_text : "");
	free(renderer_text);
	return n < 0 ? NULL : text;
}

static const struct chat_format *find_format(const char *facts)
{
	size_t size = 0;
	const char *name = facts_find(facts, FACT_GGUF_CHAT_FORMAT, &size);

	return name ? chat_format_find(name, size) : NULL;
}

const char *ollama_derive_template(const char *facts)
{
	const struct chat_format *format = find_format(facts);

	return format ? format->template : NULL;
}

const char *ollama_derive_stops(const char *facts)
{
	const struct chat_format *format = find_format(facts);
	size_t renderer = find_renderer(facts);

	if (renderer < ARRAY_LEN(renderers) && renderers[renderer].stops)
		return renderers[renderer].stops;
	return format ? format->stops : NULL;
}

const char *ollama_derive_fault(const char *facts)
{
	size_t size = 0;

	if (!facts_find(facts, FACT_KIND, &size))
		return "was sealed with --no-facts, so it is unknown whether it is a GGUF; "
		       "seal it without that option";
	if (!is(facts, FACT_KIND, FACT_KIND_GGUF))
		return "is not a GGUF";
	if (!facts_find(facts, FACT_GGUF_TENSOR_DATA, &size))
		return "has a GGUF header that is malformed or incomplete";
	if (!is(facts, FACT_GGUF_TENSOR_DATA, FACT_DATA_COMPLETE))
		return "ends before its tensors do: it is truncated";
	return NULL;
}

const char *ollama_derive_refusal(const char *facts)
{
	const char *fault = ollama_derive_fault(facts);
	size_t size = 0;

	if (fault)
		return fault;
	if (facts_find(facts, FACT_GGUF_SPLIT_COUNT, &size))
		return "is a part of a split GGUF, which Ollama cannot load";
	if (is(facts, FACT_GGUF_TYPE, "adapter") || is(facts, FACT_GGUF_TYPE, "projector") ||
	    is(facts, FACT_GGUF_TYPE, "mmproj") || is(facts, FACT_GGUF_ARCHITECTURE, "clip"))
		return "is an adapter or a projector, not a model";
	return NULL;
}
