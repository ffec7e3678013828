/*
 * trust_file.h: opens a file that holds a key or decides who is trusted, unless another user could
 * change it, as ssh does with its keys.
 *
 * The file, and every directory and symbolic link on the way from / to it, must belong to root or
 * to the effective user, and neither group nor others may write to it. A directory of root's with
 * the sticky bit (/tmp) may be writable. What an access list grants shows as the mode's group bits;
 * so root's files of mode 0440 in systemd's $CREDENTIALS_DIRECTORY count as secret. Directories are
 * walked by descriptor, so the file that was checked is the one that is opened.
 */
#ifndef SEALEDFS_BASE_TRUST_FILE_H
#define SEALEDFS_BASE_TRUST_FILE_H

#include "crypto/base/error.h"

enum trust_file {
	TRUST_UNCHANGED, /* nobody else can change it */
	TRUST_SECRET,	 /* nor read it */
};

/*
 * *ret_fd is for reading, not blocking (O_NONBLOCK); the caller closes it. A device or directory is
 * opened without a check of its mode: callers take regular files and pipes only. -EINVAL, with *err
 * set: it cannot be trusted; the message has the path and the mode, the hint a command that
 * corrects it. Another -errno: it cannot be opened; *err is left alone.
 */
int trust_file_open(const char *path, enum trust_file what, int *ret_fd, struct error *err);

#endif
