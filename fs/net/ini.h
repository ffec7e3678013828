/*
 * ini.h: AWS's profile files (SDK reference guide, "Format of the config and credentials files").
 *
 * Sections, `name = value`, comments that start a line or follow white space, and one level of
 * nesting: indented `name = value` lines under a name without a value. Names are matched without
 * case. A section that occurs twice is merged, the later value wins. Anything else is -EPROTO with
 * file and line. The whole text is wiped when freed. Threads: immutable after parsing.
 */
#ifndef SEALEDFS_NET_INI_H
#define SEALEDFS_NET_INI_H

#include "crypto/base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define INI_SIZE_MAX ((size_t)256 * 1024)
#define INI_ENTRIES_MAX 8192

struct ini;

/* label: how messages call the text. The text is copied. -EPROTO, -E2BIG, -ENOMEM. */
int ini_parse(const char *text, size_t size, const char *label, struct ini **ret,
	      struct error *err);
/* -ENOENT and -EACCES set no message: the caller decides whether they matter. */
int ini_load(const char *path, struct ini **ret, struct error *err);
void ini_free(struct ini *ini);

bool ini_has_section(const struct ini *ini, const char *section);
/* parent: NULL, or the name without a value above an indented line. NULL: not there, or empty. */
const char *ini_get(const struct ini *ini, const char *section, const char *parent,
		    const char *name);

DEFINE_CLEANUP(struct ini *, ini_free)

#endif
