/*
 * ini.h: AWS's profile files, read as the AWS CLI reads them (version 2; Python's RawConfigParser).
 *
 * Lines are "[section]", "name = value" or "name: value"; comments are lines that begin with # or
 * ;. A line that is indented further than the name above it belongs to that name: it continues its
 * value after a line end, or, where there is no value, is "name = value" of a nested block. Names
 * are matched without case. What the section [DEFAULT] sets holds in every other section that does
 * not set it; it is no section itself. A section or a name that occurs twice, bytes that are not
 * UTF-8, and whatever else the CLI refuses, is -EINVAL with file and line. The whole text is wiped
 * when freed. Threads: immutable after parsing.
 */
#ifndef SEALEDFS_AWS_INI_H
#define SEALEDFS_AWS_INI_H

#include "crypto/base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define INI_SIZE_MAX ((size_t)256 * 1024)
#define INI_ENTRIES_MAX 8192

struct ini;

/* label: how messages call the text. text, with a NUL after its size, comes from malloc() and is
 * taken over, also on failure. -EINVAL, -ENOMEM. */
int ini_parse(char *text, size_t size, const char *label, struct ini **ret, struct error *err);
/* -ENOENT and -EACCES set no message: the caller decides whether they matter. */
int ini_load(const char *path, struct ini **ret, struct error *err);
/* Another user than root and us owns the file that was loaded, or every user may write to it. */
bool ini_is_others(const struct ini *ini);
void ini_free(struct ini *ini);

/* Start with *at 0. NULL: there is none left. */
const char *ini_next_section(const struct ini *ini, size_t *at);
bool ini_has_section(const struct ini *ini, const char *section);
/* parent: NULL, or the name above a nested block. NULL: not there, or empty. */
const char *ini_get(const struct ini *ini, const char *section, const char *parent,
		    const char *name);

DEFINE_CLEANUP(struct ini *, ini_free)

#endif
