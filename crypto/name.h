/*
 * name.h: rules for a model's name, and printing of names that nobody has checked.
 *
 * A model's name is one path component: 1 … SEAL_NAME_MAX bytes of well-formed UTF-8 (Unicode 15,
 * table 3-7), no NUL, no '/', not "." or "..". Functions are pure.
 */
#ifndef SEALEDFS_NAME_H
#define SEALEDFS_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that name_printable() may write, with the NUL. */
#define NAME_PRINTABLE_SIZE 257

/* NULL when the size bytes are a valid name, else what is wrong with them ("the name is empty"). */
const char *name_problem(const void *name, size_t size);
bool utf8_valid(const void *text, size_t size);

/*
 * Writes name so that it cannot forge a message: control characters, quotes, backslashes,
 * direction marks and bytes that are not UTF-8 become \xNN. What does not fit is cut from the
 * front ("…"), because the end of a path tells more. A NULL name prints as "?".
 */
void name_printable(const char *name, char out[NAME_PRINTABLE_SIZE]);
/* The part after the last '/'. Points into path. */
const char *name_last_component(const char *path);

#endif
