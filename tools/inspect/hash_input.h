/*
 * hash_input.h: the three digests of a plaintext in one pass: SHA-256, SHA-384, fs-verity.
 */
#ifndef SEALEDFS_TOOLS_HASH_INPUT_H
#define SEALEDFS_TOOLS_HASH_INPUT_H

#include "attest/pcr.h"

/* What a pass over a plaintext finds. */
struct input_digests {
	struct model_digests digests;
	uint64_t length;
	bool is_event_text; /* begins with MEASURE_TEXT_PREFIX */
};

/* Reads a file, or standard input for "-", to its end. label: for the progress line. */
int hash_path(const char *path, const char *label, bool quiet, struct input_digests *ret,
	      struct error *err);

#endif
