/*
 * Object names of a model. Job: from the name of a seal to its payload's, and the check that a
 * seal lies under its own name. Trusts nothing of either name.
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

int seal_check_name(const struct seal *s, const char *seal_object_name, struct error *err)
{
	const char *last = name_last_component(seal_object_name);
	ssize_t stem = stem_size(last);
	char printable[NAME_PRINTABLE_SIZE];

	if (stem >= 0 && (size_t)stem == strlen(s->core.name) &&
	    memcmp(last, s->core.name, (size_t)stem) == 0)
		return 0;
	name_printable(s->core.name, printable);
	seal_fail(err, SEAL_WRONG_NAME, seal_object_name, "the seal is that of the model \"%s\"",
		  printable);
	error_hint(err, "seals cannot be renamed or exchanged; seal the model under the new name");
	return -EBADMSG;
}
