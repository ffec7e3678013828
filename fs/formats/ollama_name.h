/*
 * ollama_name.h: the names under which Ollama knows models: HOST/NAMESPACE/MODEL:TAG. The rules are
 * in OLLAMA.md. Pure functions; any thread.
 */
#ifndef SEALEDFS_VIEW_OLLAMA_NAME_H
#define SEALEDFS_VIEW_OLLAMA_NAME_H

#include <stdbool.h>
#include <stddef.h>

#define OLLAMA_HOST_DEFAULT "registry.ollama.ai"
#define OLLAMA_HOST_NEWER "ollama.com" /* another name of the same */
#define OLLAMA_NAMESPACE_DEFAULT "library"
#define OLLAMA_TAG_DEFAULT "latest"

#define OLLAMA_PART_MAX 80  /* Ollama's limit on namespace, model and tag */
#define OLLAMA_HOST_MAX 255 /* a directory's name; Ollama would take 350 */
#define OLLAMA_NAME_MAX (OLLAMA_HOST_MAX + 3 * (OLLAMA_PART_MAX + 1))

/* Whether a mount has a directory for Ollama. */
enum ollama_mode {
	OLLAMA_AUTO, /* when any model is a GGUF */
	OLLAMA_ON,
	OLLAMA_OFF,
};

struct ollama_name {
	char host[OLLAMA_HOST_MAX + 1];
	char space[OLLAMA_PART_MAX + 1];
	char model[OLLAMA_PART_MAX + 1];
	char tag[OLLAMA_PART_MAX + 1];
};

/*
 * "llama3", "llama3:8b", "acme/llama3", "hf.co/acme/llama3:Q4_K_M": what is missing is Ollama's
 * default. NULL when it is a name that Ollama takes, else what is wrong with it.
 */
const char *ollama_name_parse(const char *text, struct ollama_name *ret);

/* Of a model's path in the mount. Always a valid name. distinct: with eight hex digits of the
 * path's SHA-256, for a path whose plain name is taken. */
int ollama_name_of_path(const char *path, bool distinct, struct ollama_name *ret);

/* All four parts: "HOST/NAMESPACE/MODEL:TAG". */
void ollama_name_full(const struct ollama_name *n, char out[OLLAMA_NAME_MAX + 1]);
/* As a user would type it: defaults left out. */
void ollama_name_short(const struct ollama_name *n, char out[OLLAMA_NAME_MAX + 1]);
/* As Ollama compares: ASCII letters without case, and (from manifests-v2 on) its two hosts
 * registry.ollama.ai and ollama.com are one. Orders like strcmp. */
int ollama_name_compare(const struct ollama_name *a, const struct ollama_name *b);

#endif
