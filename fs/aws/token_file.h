/*
 * token_file.h: small files that hold a bearer token. Thread-safe.
 */
#ifndef SEALEDFS_AWS_TOKEN_FILE_H
#define SEALEDFS_AWS_TOKEN_FILE_H

#include "crypto/base/error.h"

#include <stddef.h>

/*
 * The text of the file without white space at its end, for text_wipe_free(). -ENOENT: there is no
 * file (sets no message); -EAGAIN: it is empty or has more than max bytes; -EINVAL: it cannot be
 * read, is not a regular file, contains a NUL, or every user may write to it.
 */
int token_file_read(const char *path, size_t max, char **ret, struct error *err);

#endif
