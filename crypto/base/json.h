/*
 * json.h: JSON answers that may hold secrets, by jansson with an allocator that wipes.
 *
 * Strings belong to the object. Answers are bounded by what was read from the network; depth is
 * jansson's 2048. Threads: an object belongs to one thread.
 */
#ifndef SEALEDFS_NET_JSON_H
#define SEALEDFS_NET_JSON_H

#include "crypto/base/cleanup.h"

#include <jansson.h>

/* An object, or NULL: not JSON, or another kind of value. Duplicate members are refused. */
json_t *json_object_parse(const void *data, size_t size);
/* Member's text; NULL: absent, not a string, or empty. */
const char *json_text(const json_t *object, const char *name);

#define _cleanup_json_ _cleanup_(json_decrefp)

#endif
