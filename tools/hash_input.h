/*
 * hash_input.h: the three digests of a plaintext in one pass: SHA-256, SHA-384, fs-verity.
 */
#ifndef SEALEDFS_TOOLS_HASH_INPUT_H
#define SEALEDFS_TOOLS_HASH_INPUT_H

#include "attest/pcr.h"
#include "tools/input.h"
#include "tools/progress.h"

/* Reads to the end; a pipe of unknown length is fine. */
int hash_input(struct input *in, struct progress *progress, struct model_digests *ret,
	       uint64_t *ret_length, struct error *err);

#endif
