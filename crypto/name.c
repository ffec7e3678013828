/*
 * Names of models. Job: decide which bytes are a name. Trusts nothing. Must never accept a name
 * that could leave its directory, nor one that the mount has taken for itself.
 */
#include "crypto/name.h"

#include "crypto/base/cleanup.h"
#include "crypto/format.h"

#include <string.h>

const char *name_problem(const void *name, size_t size)
{
	if (size == 0)
		return "the name is empty";
	if (size > SEAL_NAME_MAX)
		return "the name is longer than 255 bytes";
	if (memchr(name, '\0', size))
		return "the name holds a NUL byte";
	if (memchr(name, '/', size))
		return "the name holds a slash";
	if ((size == 1 && memcmp(name, ".", 1) == 0) || (size == 2 && memcmp(name, "..", 2) == 0))
		return "the name is . or ..";
	if (size == sizeof(NAME_RESERVED) - 1 && memcmp(name, NAME_RESERVED, size) == 0)
		return "the name " NAME_RESERVED " is reserved for the mount's control directory";
	if (!utf8_valid(name, size))
		return "the name is not UTF-8";
	return NULL;
}

const char *model_path_problem(const void *path, size_t size)
{
	const char *part = path, *end = part + size, *problem;

	if (size == 0)
		return "the path is empty";
	if (size > SEAL_PATH_MAX)
		return "the path is longer than 1024 bytes";
	for (;;) {
		const char *slash = memchr(part, '/', (size_t)(end - part));

		problem = name_problem(part, (size_t)((slash ? slash : end) - part));
		if (problem || !slash)
			break;
		part = slash + 1;
	}
	if (!problem && utf8_has_control(path, size))
		problem = "the path holds a control character";
	return problem;
}

bool name_is_seal(const char *name)
{
	size_t size = strlen(name), suffix = strlen(SEAL_SUFFIX);

	return size >= suffix && strcmp(name + size - suffix, SEAL_SUFFIX) == 0;
}

bool name_is_payload(const char *name)
{
	return name_has_id_suffix(name, SEAL_PAYLOAD_SUFFIX);
}

bool name_has_id_suffix(const char *name, const char *suffix)
{
	size_t size = strlen(name), tail = 1 + SEAL_PAYLOAD_ID_DIGITS + strlen(suffix);
	const char *at;

	if (size <= tail)
		return false;
	at = name + size - tail;
	return at[0] == '.' && strspn(at + 1, "0123456789abcdef") == SEAL_PAYLOAD_ID_DIGITS &&
	       strcmp(at + 1 + SEAL_PAYLOAD_ID_DIGITS, suffix) == 0;
}

const char *name_last_component(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}
