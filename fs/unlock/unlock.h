/*
 * unlock.h: from a seal's slots to its data key. Tries the slots that the context has means for:
 * key files first (no network), then KMS slots in order. Each KMS attempt makes a fresh RSA-2048
 * key in memory, a fresh attestation document carrying it, and one Decrypt with Recipient.
 *
 * Errors: -ENOKEY no slot for any means at hand; -EKEYREJECTED every usable slot refused (the
 * message has KMS's words and this machine's PCR 4, 7, 12 as attested); -EBADMSG a key came back
 * that is not this seal's; unreachable as http.h. Thread-safe.
 */
#ifndef SEALEDFS_UNLOCK_H
#define SEALEDFS_UNLOCK_H

#include "attest/provider.h"
#include "crypto/seal.h"
#include "fs/net/aws.h"

struct unlock;

struct unlock_options {
	struct aws *aws;		  /* NULL: KMS slots are skipped */
	struct attest_provider *provider; /* NULL: KMS Decrypt without Recipient (owners' tools) */
	const char *const *keyfiles;	  /* paths */
	size_t keyfile_count;
};

/* Loads the key files. aws and provider must outlive it. */
int unlock_new(const struct unlock_options *options, struct unlock **ret, struct error *err);
void unlock_free(struct unlock *u);
/* The key fits the seal's commitment when this returns 0. name: for messages. */
int unlock_data_key(struct unlock *u, const struct seal *seal, const char *name,
		    struct secret **ret, struct error *err);

DEFINE_CLEANUP(struct unlock *, unlock_free)

#endif
