/*
 * fileio.h: whole reads and writes: system calls that are short or interrupted go on until all is
 * done. Threads: any; the _at calls leave the file position alone.
 */
#ifndef SEALEDFS_BASE_FILEIO_H
#define SEALEDFS_BASE_FILEIO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Until buf is full or the file ends: the bytes read, or a negative errno. size is at most
 * SSIZE_MAX. */
ssize_t file_read(int fd, void *buf, size_t size);
ssize_t file_read_at(int fd, void *buf, size_t size, uint64_t offset);
/* 0 or a negative errno; then some of it may have been written. */
int file_write(int fd, const void *data, size_t size);
int file_write_at(int fd, const void *data, size_t size, uint64_t offset);

#endif
