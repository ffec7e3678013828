/*
 * image.h: the plaintext of a whole model in memory that nobody can write to once it is complete:
 * a memfd, sealed. Private to fs/resident. Threads: any; the caller keeps filling and sealing
 * apart.
 */
#ifndef SEALEDFS_RESIDENT_IMAGE_H
#define SEALEDFS_RESIDENT_IMAGE_H

#include "crypto/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct image;

/* No memory is taken before it is written to. -EPERM: plaintext could reach swap; -errno. */
int image_new(uint64_t size, struct image **ret, struct error *err);
void image_free(struct image *i);
/* Where to write, until image_seal(). */
uint8_t *image_to_fill(struct image *i, uint64_t offset);
/* A range is written: it stays in memory from now on, and image_data() has it. */
void image_filled(struct image *i, uint64_t offset, size_t size);
/* The same memory, read-only, as long as the image. */
const uint8_t *image_data(const struct image *i, uint64_t offset);
/* Forbids every change, to everybody, for ever. Nobody may be writing. */
int image_seal(struct image *i, struct error *err);
/* A descriptor for reading, the image's own. */
int image_fd(const struct image *i);
/* True: the kernel gives huge pages to those who ask. */
bool image_huge_pages(void);

DEFINE_CLEANUP(struct image *, image_free)

#endif
