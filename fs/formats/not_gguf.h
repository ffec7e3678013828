/*
 * not_gguf.h: guesses what a file is that should be a GGUF but is not, for a message.
 * Pure.
 */
#ifndef SEALEDFS_FORMATS_NOT_GGUF_H
#define SEALEDFS_FORMATS_NOT_GGUF_H

#include <stddef.h>
#include <stdint.h>

/* Of the start of a file more is not needed. */
#define NOT_GGUF_START 64

/* To follow "it is "; NULL: nothing that is known. start: the first size bytes. */
const char *not_gguf_guess(const uint8_t *start, size_t size);

#endif
