/*
 * name.h: rules for a model's name. Printing of names: base/printable.h.
 *
 * A name is one path component: 1 … SEAL_NAME_MAX bytes of well-formed UTF-8 (Unicode 15, table
 * 3-7), no NUL, no '/', not ".", "..", or ".sealedfs": a model or folder of that name could be
 * taken for a mount's control directory. A model's path is 1 … SEAL_PATH_MAX bytes of such names,
 * joined by '/', without control characters. Functions are pure.
 */
#ifndef SEALEDFS_NAME_H
#define SEALEDFS_NAME_H

#include "crypto/base/printable.h"

#include <stdbool.h>
#include <stddef.h>

/* The control directory in the root of a mount. */
#define NAME_RESERVED ".sealedfs"

/* NULL if the size bytes are a valid name, else the problem ("the name is empty"). */
const char *name_problem(const void *name, size_t size);
/* The same for a model's path. */
const char *model_path_problem(const void *path, size_t size);

/* "NAME.seal" and "NAME.<id>.sealed" (crypto/FORMAT.md). NAME may be a path; of a seal it may also
 * be empty, which is no valid name. */
bool name_is_seal(const char *name);
bool name_is_payload(const char *name);
/* "NAME.<16 hex>" and the suffix. */
bool name_has_id_suffix(const char *name, const char *suffix);

/* The part after the last '/'. Points into path. */
const char *name_last_component(const char *path);

#endif
