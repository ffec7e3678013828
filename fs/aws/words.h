/*
 * words.h: a line split into words as the AWS CLI splits credential_process and section names:
 * POSIX shell quoting without anything else of a shell (Python's shlex.split()). Pure. Thread-safe.
 */
#ifndef SEALEDFS_AWS_WORDS_H
#define SEALEDFS_AWS_WORDS_H

#include <stddef.h>

/* *ret is NULL-terminated, one block for free(). -EINVAL: a quote without its end; -ENOMEM. */
int words_split(const char *text, char ***ret, size_t *ret_count);

#endif
