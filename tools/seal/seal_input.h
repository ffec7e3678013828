/*
 * seal_input.h: one plaintext sealed to one place.
 */
#ifndef SEALEDFS_TOOLS_SEAL_INPUT_H
#define SEALEDFS_TOOLS_SEAL_INPUT_H

#include "tools/common/input.h"
#include "tools/seal/publish.h"

/*
 * Seals in as `name` ("a/b/model.gguf"), which is also the sealed path. When this fails, nothing
 * new is visible and nothing is left behind. in must have its length (input_promise_length,
 * input_spool).
 */
int seal_input(const struct seal_request *req, struct input *in, const char *name,
	       struct seal_result *ret, struct error *err);

/* Bytes of one upload part for this length: 8 MiB, or more where S3's 10,000 parts need it. */
size_t seal_part_size(uint64_t length, bool dest_is_s3);

#endif
