/*
 * unlock.h: from the slots of a seal or a set to its key. Tries the slots that the context has
 * means for: key files first, then this machine's TPM (no network), then KMS slots in order, as far
 * as they may be asked. Each KMS attempt makes a fresh RSA-2048 key in memory, a fresh attestation
 * document carrying it, and one Decrypt with Recipient.
 *
 * A seal names KMS keys, and anybody can have written it. Asked are only keys of the configured
 * region's partition, of the pins if there are any, and of one seal UNLOCK_KMS_ASKED_MAX at
 * most; all but the first of a seal have one limit for all seals, so that many seals that cannot be
 * opened cost hardly more than one request each. The message of a failure names the others.
 *
 * Errors: -ENOKEY no slot for any available means; -EKEYREJECTED every usable slot refused (the
 * message has KMS's words and this machine's PCRs as attested: denial.h); -EBADMSG a key came back
 * that is not this seal's; unreachable as http.h. Thread-safe.
 */
#ifndef SEALEDFS_UNLOCK_H
#define SEALEDFS_UNLOCK_H

#include "attest/provider.h"
#include "attest/tpm_unseal.h"
#include "crypto/set.h"
#include "fs/aws/aws.h"

struct unlock;

#define UNLOCK_KMS_ASKED_MAX 4 /* KMS keys tried for one seal */

struct unlock_options {
	struct aws *aws;		  /* NULL: KMS slots are skipped */
	struct attest_provider *provider; /* NULL: KMS Decrypt without Recipient (owners' tools) */
	const char *const *keyfiles;	  /* paths */
	size_t keyfile_count;
	const char *const *kms_pins;   /* kms_arn.h; borrowed */
	size_t kms_pin_count;	       /* 0: any key */
	const char *kms_policy;	       /* file: denial.h; NULL: none */
	bool use_tpm;		       /* slots for TPMs are tried, too */
	struct tpm_unseal_options tpm; /* strings borrowed */
};

/* Loads the key files. aws and provider must outlive it. */
int unlock_new(const struct unlock_options *options, struct unlock **ret, struct error *err);
void unlock_free(struct unlock *u);
/*
 * Between begin and end many models are unlocked: KMS attempts share an RSA key and its document
 * for up to a minute. Pairs may nest and overlap.
 */
void unlock_batch_begin(struct unlock *u);
void unlock_batch_end(struct unlock *u);
/* The key fits the seal's commitment when this returns 0. name: for messages. */
int unlock_data_key(struct unlock *u, const struct seal *seal, const char *name,
		    struct secret **ret, struct error *err);

/* The same for a set's key. */
int unlock_set_key(struct unlock *u, const struct set *set, const char *name, struct secret **ret,
		   struct error *err);
/* From now on slots of this set's members are opened, before all others and without asking anybody.
 * Takes keys over, in place of those of the same set. -ENOMEM: it does not. */
int unlock_add_set(struct unlock *u, struct set_keys *keys);

/*
 * Asked before a model that was refused is unlocked again: false when there were too many of these
 * for a while, whatever the model. First attempts do not count, so that nobody can keep others from
 * theirs.
 */
bool unlock_may_repeat(struct unlock *u);

DEFINE_CLEANUP(struct unlock *, unlock_free)

#endif
