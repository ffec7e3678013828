/*
 * seal_input.h: one plaintext sealed to one place.
 */
#ifndef SEALEDFS_TOOLS_SEAL_INPUT_H
#define SEALEDFS_TOOLS_SEAL_INPUT_H

#include "attest/pcr.h"
#include "crypto/seal.h"
#include "fs/source/source.h"
#include "tools/input.h"
#include "tools/recipients.h"

struct seal_result;

struct seal_request {
	struct source *dest;
	bool dest_is_s3;
	struct aws *aws; /* NULL without S3 and KMS */
	const struct recipients *recipients;
	const struct signing_key *signer; /* NULL: unsigned */
	bool remove_old;
	bool quiet;
	/* Called when the plaintext has been read and its digests are known, before anything of it
	 * is visible; an error ends the sealing. NULL: nothing to do. */
	int (*before_publish)(void *arg, const struct seal_result *res, struct error *err);
	void *before_arg;
};

struct seal_result {
	char *seal_name, *payload_name; /* in dest */
	uint8_t file_id[SEAL_FILE_ID_SIZE];
	uint64_t length;
	struct model_digests digests;
	struct seal_slot slots[SEAL_SLOTS_MAX];
	unsigned slot_count;
	double seconds;
	bool replaced;	   /* a model of this name was there before */
	char *old_payload; /* the replaced model's payload, where it is known and still there */
	bool old_payload_removed;
};

/*
 * Seals in as `name` ("a/b/model.gguf"). When this fails, nothing new is visible and nothing is
 * left behind. in must have its length (input_promise_length, input_spool).
 */
int seal_input(const struct seal_request *req, struct input *in, const char *name,
	       struct seal_result *ret, struct error *err);
void seal_result_clear(struct seal_result *r);

/* Bytes of one upload part for this length: 8 MiB, or more where S3's 10,000 parts need it. */
size_t seal_part_size(uint64_t length, bool dest_is_s3);

#endif
