/*
 * json.h: JSON that may hold secrets: jansson with an allocator that wipes memory.
 *
 * Strings belong to the object. Answers are bounded by what was read from the network; depth is
 * jansson's 2048. Threads: an object belongs to one thread.
 */
#ifndef SEALEDFS_JSON_H
#define SEALEDFS_JSON_H

#include "crypto/base/cleanup.h"

#include <jansson.h>

/* An object, or NULL: not JSON, or another kind of value. Duplicate members are refused. */
json_t *json_object_parse(const void *data, size_t size);
/* A new string from text that may not be UTF-8: malformed bytes become U+FFFD. NULL: no memory. */
json_t *json_outside_text(const char *text);
/* Writes a value and a line end. Everything but printable ASCII is escaped, so the output is
 * safe on a terminal. -EIO. */
int json_print(const json_t *value, FILE *to);
/* Member's text; NULL: absent, not a string, or empty. */
const char *json_text(const json_t *object, const char *name);

#define _cleanup_json_ _cleanup_(json_decrefp)

#endif
