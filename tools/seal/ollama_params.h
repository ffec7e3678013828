/*
 * ollama_params.h: parameters for a model in Ollama ("params" layer): a JSON object of options, of
 * which Ollama checks the types when a client asks, and so does this before sealing.
 */
#ifndef SEALEDFS_TOOLS_OLLAMA_PARAMS_H
#define SEALEDFS_TOOLS_OLLAMA_PARAMS_H

#include "crypto/base/error.h"

#include <jansson.h>

/* One "NAME=VALUE"; "stop" may come again and makes a list. -EINVAL: no such option, or a value of
 * another type. */
int ollama_params_set(json_t *params, const char *pair, struct error *err);
/*
 * A file's content: a JSON object, or lines of NAME=VALUE (empty ones and those that begin with #
 * do not count). label: the file's name for messages.
 */
int ollama_params_add(json_t *params, const char *text, size_t size, const char *label,
		      struct error *err);
/* Compact, in order of names; malloc()ed. NULL: out of memory. */
char *ollama_params_text(const json_t *params);

#endif
