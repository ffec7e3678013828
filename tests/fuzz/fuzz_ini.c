/*
 * Fuzz target: AWS's profile files. Besides not crashing: what cannot be understood is refused with
 * a message, and no value is found under a name that is not there.
 */
#include "fs/aws/ini.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(ini_freep) struct ini *ini = NULL;
	struct error err = {0};
	char *text = malloc(size + 1);
	const char *value;
	int r;

	if (!text)
		abort();
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	r = ini_parse(text, size, "fuzz", &ini, &err);
	if ((r != 0 && r != -EINVAL) || err.code != r || (r == 0) != (ini != NULL))
		abort();
	value = ini_get(ini, "default", NULL, "region");
	if (value && (!value[0] || !ini_has_section(ini, "default")))
		abort();
	value = ini_get(ini, "default", "s3", "addressing_style");
	if (value && strchr(value, '\n'))
		abort();
	if (ini_get(ini, "default", NULL, "a name that has spaces = never"))
		abort();
	return 0;
}
