/*
 * key_io.h: reading and creating small files that hold keys. Callers parse; all other files in
 * crypto/ do no I/O.
 */
#ifndef SEALEDFS_KEY_IO_H
#define SEALEDFS_KEY_IO_H

#include "crypto/base/error.h"
#include "crypto/base/secret.h"
#include "crypto/base/trust_file.h"

#include <sys/types.h>

#define KEY_FILE_MAX ((size_t)32768) /* bytes; more than any PEM file of keys */

/*
 * The whole file in secret memory, which the caller frees; 1 … KEY_FILE_MAX bytes, else -EINVAL.
 * -EINVAL: others can change it, or read what is to be secret (crypto/base/trust_file.h).
 */
int key_io_read(const char *path, enum trust_file what, struct secret **ret, struct error *err);
/*
 * Creates the file with this mode and content, and syncs it and its directory. -EEXIST rather than
 * overwrite; on failure the file is removed again.
 */
int key_io_create(const char *path, const void *data, size_t size, mode_t mode, struct error *err);

#endif
