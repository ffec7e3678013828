/*
 * check_payload.h: every chunk of a payload, fetched, decrypted and checked; then the digests of
 * the whole plaintext. Private to check_object.
 */
#ifndef SEALEDFS_TOOLS_CHECK_PAYLOAD_H
#define SEALEDFS_TOOLS_CHECK_PAYLOAD_H

#include "crypto/seal.h"
#include "fs/source/source.h"

struct check_payload_result {
	int chunks_code;  /* 0, -EBADMSG, or why the payload could not be read */
	int digests_code; /* 0, -EBADMSG; only where all chunks are good */
	struct error error;
};

/* Goes on after a bad chunk, to name them all. Negative when it could not be carried through. */
int check_payload(struct source *source, const struct source_object *payload,
		  const struct seal *seal, const struct seal_keys *keys, bool quiet,
		  struct check_payload_result *ret, struct error *err);

#endif
