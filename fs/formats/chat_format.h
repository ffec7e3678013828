/*
 * chat_format.h: the simple chat formats for which `ollama create` adds a template of its own and
 * stop words to a GGUF, and the Go templates for them. Pure; static data; any thread.
 */
#ifndef SEALEDFS_VIEW_CHAT_FORMAT_H
#define SEALEDFS_VIEW_CHAT_FORMAT_H

#include <stddef.h>

/* Longer ones are never simple. */
#define CHAT_TEMPLATE_MAX 2048

struct chat_format {
	const char *name;	/* "chatml": the value of the fact gguf.chat-format */
	const char *template;	/* Go's text/template with Ollama's values */
	const char *stops;	/* a JSON array of strings */
	const char *markers[5]; /* each is in the model's own template … */
	const char *without;	/* … and this is not; NULL: nothing */
};

/* NULL: no such format. name: size bytes. */
const struct chat_format *chat_format_find(const char *name, size_t size);
/*
 * text: tokenizer.chat_template (Jinja), NUL-terminated. NULL: none of the formats, or one with
 * more to it (tools, thinking), which a simple template would lose.
 */
const struct chat_format *chat_format_detect(const char *text);

#endif
