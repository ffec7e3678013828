/*
 * Names of GGUF files. Job: recognise them, and the parts of a split one. Trusts nothing.
 */
#include "fs/formats/gguf_name.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SUFFIX ".gguf"

bool gguf_is_name(const char *path)
{
	size_t size = strlen(path), suffix = sizeof(SUFFIX) - 1;

	return size > suffix && path[size - suffix - 1] != '/' &&
	       strcasecmp(path + size - suffix, SUFFIX) == 0;
}

bool gguf_parse_shard(const char *path, struct gguf_shard *ret)
{
	static const char shape[] = "-00000-of-00000" SUFFIX;
	size_t n = strlen(path), at;

	if (n < sizeof(shape) - 1)
		return false;
	at = n - (sizeof(shape) - 1);
	for (size_t i = 0; i < sizeof(shape) - 1; i++) {
		char c = path[at + i];

		if (shape[i] == '0' ? c < '0' || c > '9' : c != shape[i])
			return false;
	}
	ret->number = (unsigned)strtoul(path + at + 1, NULL, 10);
	ret->count = (unsigned)strtoul(path + at + 10, NULL, 10);
	ret->number_at = at + 1;
	return ret->number >= 1 && ret->number <= ret->count;
}
