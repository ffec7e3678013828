/*
 * cat_child.h: a program that reads the model from memory.
 */
#ifndef SEALEDFS_TOOLS_CAT_CHILD_H
#define SEALEDFS_TOOLS_CAT_CHILD_H

#include "crypto/base/error.h"

#include <stdbool.h>
#include <stdint.h>

/* What stands in the program's arguments for the path of the memory. */
#define CAT_PLACE "{}"

/* True: one of the arguments behind the program's name contains it. */
bool cat_child_has_place(char *const *argv);
/* Memory for size bytes, as a file that no exec inherits. -ENOMEM: there is not so much. */
int cat_child_memory(uint64_t size, int *ret, struct error *err);
/* From now on nobody can change it, nor make it longer or shorter. */
int cat_child_seal(int fd, struct error *err);
/*
 * Becomes the program, with "/proc/self/fd/N" for each CAT_PLACE and fd open as N. Returns only if
 * that fails. All secrets must be freed before.
 */
int cat_child_become(char *const *argv, int fd, struct error *err);

#endif
