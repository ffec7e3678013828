/*
 * The file of one extent. Job: read and write it so that neither a crash nor another user of the
 * folder can do more than make a copy useless: no link is followed, and nothing but our own regular
 * files with one name is read or written. Never sees plaintext.
 */
#include "fs/stage/extent.h"

#include "crypto/base/cleanup.h"
#include "crypto/base/fileio.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

void extent_name(const struct extent_key *key, uint16_t chunks, char name[EXTENT_NAME_SIZE])
{
	(void)snprintf(name, EXTENT_NAME_SIZE, "%016llx.%08x.%04x", (unsigned long long)key->id,
		       key->index, chunks);
}

bool extent_name_parse(const char *name, struct extent_key *ret, uint16_t *ret_chunks)
{
	char again[EXTENT_NAME_SIZE], *end = NULL;

	ret->id = strtoull(name, &end, 16);
	ret->index = *end == '.' ? (uint32_t)strtoul(end + 1, &end, 16) : 0;
	*ret_chunks = *end == '.' ? (uint16_t)strtoul(end + 1, &end, 16) : 0;
	extent_name(ret, *ret_chunks, again);
	return strcmp(name, again) == 0;
}

bool extent_is_ours(const struct stat *st)
{
	return S_ISREG(st->st_mode) && st->st_uid == geteuid() && st->st_nlink == 1 &&
	       !(st->st_mode & 077);
}

/* A descriptor or a negative errno. */
static int open_own(int dir_fd, const char *name, int flags)
{
	_cleanup_close_ int fd =
		openat(dir_fd, name, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	return extent_is_ours(&st) ? steal_fd(&fd) : -EPROTO;
}

static int read_with(int dir_fd, const char *name, int flags, uint64_t at, size_t size, bool touch,
		     uint8_t *buf)
{
	_cleanup_close_ int fd = open_own(dir_fd, name, O_RDONLY | flags);
	ssize_t n = fd < 0 ? fd : file_read_at(fd, buf, size, at);

	if (n < 0)
		return (int)n;
	if (touch)
		(void)futimens(fd, NULL);
	return (size_t)n == size ? 0 : -ENODATA;
}

int extent_read(int dir_fd, const struct extent_key *key, uint16_t chunks, uint64_t offset,
		size_t size, bool touch, uint8_t *buf)
{
	uint64_t at = offset % SEAL_EXTENT_SIZE;
	char name[EXTENT_NAME_SIZE];
	int r = -EINVAL;

	extent_name(key, chunks, name);
	if ((at | size | (uintptr_t)buf) % STAGE_BLOCK_SIZE == 0)
		r = read_with(dir_fd, name, O_DIRECT, at, size, touch, buf);
	/* Not every file system has O_DIRECT, or is content with this alignment. */
	return r == -EINVAL ? read_with(dir_fd, name, 0, at, size, touch, buf) : r;
}

static int write_with(int dir_fd, const char *name, int flags, uint64_t at, size_t size,
		      const uint8_t *data, uint64_t *ret_bytes)
{
	_cleanup_close_ int fd = open_own(dir_fd, name, O_RDWR | flags);
	struct stat st;
	int r = fd < 0 ? fd : file_write_at(fd, data, size, at);

	if (r < 0)
		return r;
	if (fdatasync(fd) < 0 || fstat(fd, &st) < 0)
		return -errno;
	*ret_bytes = (uint64_t)st.st_blocks * 512;
	return 0;
}

int extent_add(int dir_fd, const struct extent_key *key, uint16_t have, uint16_t add,
	       uint64_t offset, size_t size, uint8_t *data, uint64_t *ret_bytes)
{
	size_t whole = (size + STAGE_BLOCK_SIZE - 1) / STAGE_BLOCK_SIZE * STAGE_BLOCK_SIZE;
	uint64_t at = offset % SEAL_EXTENT_SIZE;
	char from[EXTENT_NAME_SIZE], to[EXTENT_NAME_SIZE];
	int r, flags = have ? 0 : O_CREAT;

	extent_name(key, have, from);
	extent_name(key, have | add, to);
	memset(data + size, 0, whole - size);
	r = write_with(dir_fd, from, flags | O_DIRECT, at, whole, data, ret_bytes);
	if (r == -EINVAL)
		r = write_with(dir_fd, from, flags, at, whole, data, ret_bytes);
	if (r == 0 && renameat(dir_fd, from, dir_fd, to) < 0)
		r = -errno;
	if (r < 0)
		extent_remove(dir_fd, key, have);
	return r;
}

void extent_remove(int dir_fd, const struct extent_key *key, uint16_t chunks)
{
	char name[EXTENT_NAME_SIZE];

	extent_name(key, chunks, name);
	(void)unlinkat(dir_fd, name, 0);
}
