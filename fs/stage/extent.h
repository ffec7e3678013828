/*
 * extent.h: one extent of a payload as a file of a stage's folder. The name is the whole index:
 * file id, number of the extent, and which of its chunks are in the file. Private to fs/stage.
 *
 * Nothing here is trusted: whoever reads a copy checks the chunk's tag. Threads: any for reads;
 * only one thread adds.
 */
#ifndef SEALEDFS_STAGE_EXTENT_H
#define SEALEDFS_STAGE_EXTENT_H

#include "crypto/format.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#define STAGE_BLOCK_SIZE 4096
#define STAGE_CHUNKS (SEAL_EXTENT_SIZE / SEAL_CHUNK_SIZE)
/* "<16 hex: file id>.<8 hex: extent>.<4 hex: chunks>" and NUL */
#define EXTENT_NAME_SIZE 31

struct extent_key {
	uint64_t id; /* first 8 bytes of the file id, as in the payload's name */
	uint32_t index;
};

void extent_name(const struct extent_key *key, uint16_t chunks, char name[EXTENT_NAME_SIZE]);
/* False: not a name of a staged extent. */
bool extent_name_parse(const char *name, struct extent_key *ret, uint16_t *ret_chunks);
/* A regular file with one link that only this user can access. */
bool extent_is_ours(const struct stat *st);

/*
 * size bytes at offset of the payload, within the extent. touch: marks the file as used now, also
 * for after a restart. -ENODATA: the file is shorter; -ENOENT: there is none of this name.
 */
int extent_read(int dir_fd, const struct extent_key *key, uint16_t chunks, uint64_t offset,
		size_t size, bool touch, uint8_t *buf);
/*
 * Adds chunks to the file that holds `have`; 0: makes it. They are on the disk before the name
 * shows them. data is aligned to STAGE_BLOCK_SIZE and has room up to the next multiple of it behind
 * size, which is zeroed. *ret_bytes: what the file takes up. On failure the file is removed.
 */
int extent_add(int dir_fd, const struct extent_key *key, uint16_t have, uint16_t add,
	       uint64_t offset, size_t size, uint8_t *data, uint64_t *ret_bytes);
void extent_remove(int dir_fd, const struct extent_key *key, uint16_t chunks);

#endif
