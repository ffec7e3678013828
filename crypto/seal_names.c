/*
 * Object names of a model. Job: derive a payload's name from its seal's, and check that a
 * seal lies under its own path. Trusts nothing of either.
 */
#include "crypto/base/encode.h"
#include "crypto/failure.h"
#include "crypto/name.h"
#include "crypto/seal_internal.h"

#include <errno.h>
#include <string.h>

#define SUFFIX_SIZE (sizeof(SEAL_SUFFIX) - 1)

/* Bytes of name without ".seal"; -1 when it does not end so. */
static ssize_t stem_size(const char *name)
{
	size_t size = strlen(name);

	if (size < SUFFIX_SIZE || strcmp(name + size - SUFFIX_SIZE, SEAL_SUFFIX) != 0)
		return -1;
	return (ssize_t)(size - SUFFIX_SIZE);
}

int seal_payload_name(const struct seal *s, const char *seal_name, char **ret)
{
	char id[SEAL_PAYLOAD_ID_DIGITS + 1];
	ssize_t stem = stem_size(seal_name);
	char *out;

	if (stem < 0 || stem > INT16_MAX)
		return -EINVAL;
	hex_encode(s->core.file_id, SEAL_PAYLOAD_ID_DIGITS / 2, id);
	if (asprintf(&out, "%.*s.%s%s", (int)stem, seal_name, id, SEAL_PAYLOAD_SUFFIX) < 0)
		return -ENOMEM;
	*ret = out;
	return 0;
}

/* True when the shorter path is the end of the longer one, by whole components. */
static bool paths_agree(const char *a, size_t a_size, const char *b, size_t b_size)
{
	const char *longer = a_size > b_size ? a : b, *shorter = a_size > b_size ? b : a;
	size_t size = MIN(a_size, b_size), more = MAX(a_size, b_size) - size;

	return size > 0 && memcmp(longer + more, shorter, size) == 0 &&
	       (more == 0 || longer[more - 1] == '/');
}

int seal_check_name(const struct seal *s, const char *seal_object_name, struct error *err)
{
	ssize_t stem = stem_size(seal_object_name);
	char printable[NAME_PRINTABLE_SIZE];

	if (stem > 0 &&
	    paths_agree(s->core.path, strlen(s->core.path), seal_object_name, (size_t)stem))
		return 0;
	name_printable(s->core.path, printable);
	seal_fail(err, SEAL_WRONG_NAME, seal_object_name, "the seal is that of the model \"%s\"",
		  printable);
	error_hint(err, "seals cannot be moved or exchanged; seal the model under the new path");
	return -EBADMSG;
}
