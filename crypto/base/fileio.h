/*
 * fileio.h: whole reads and writes: short or interrupted system calls are repeated until all is
 * done. Threads: any; the _at calls leave the file position alone.
 */
#ifndef SEALEDFS_BASE_FILEIO_H
#define SEALEDFS_BASE_FILEIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Until buf is full or the file ends: the bytes read, or a negative errno. size is at most
 * SSIZE_MAX. */
ssize_t file_read(int fd, void *buf, size_t size);
ssize_t file_read_at(int fd, void *buf, size_t size, uint64_t offset);
/* All of a regular file from its start on into fresh memory, at least a byte of it. -EINVAL:
 * another kind of file; -EFBIG: more than max bytes; -errno. */
int file_load(int fd, size_t max, uint8_t **ret, size_t *ret_size);
/* 0 or a negative errno; then some of it may have been written. */
int file_write(int fd, const void *data, size_t size);
int file_write_at(int fd, const void *data, size_t size, uint64_t offset);
/* flock(2), exclusive or shared, within wait_ms. -ETIMEDOUT: another one kept it that long. */
int file_lock(int fd, bool shared, unsigned wait_ms);

/*
 * Call it first in main(): closed standard descriptors are opened on /dev/null, so that no other
 * file gets their numbers. Reading the input or writing the output still fails with EBADF; messages
 * are lost. 0 or a negative errno.
 */
int file_open_standard(void);

#endif
