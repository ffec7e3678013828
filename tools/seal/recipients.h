/*
 * recipients.h: who can unlock a sealed model. recipients_make() makes a data key for each file and
 * wraps it for every recipient.
 */
#ifndef SEALEDFS_TOOLS_RECIPIENTS_H
#define SEALEDFS_TOOLS_RECIPIENTS_H

#include "crypto/set.h"
#include "fs/aws/aws.h"

struct recipients;

struct recipient_options {
	const char *kms_keys[SEAL_SLOTS_MAX]; /* id, ARN or alias; not copied */
	unsigned kms_count;
	const char *keyfiles[SEAL_SLOTS_MAX]; /* paths */
	unsigned keyfile_count;
	const char *tpms[SEAL_SLOTS_MAX]; /* tpm_recipient.h */
	unsigned tpm_count;
};

/*
 * Loads the key files, and asks this machine's TPM if it is one. -EINVAL: none, too many, or the
 * same one twice. aws may be NULL without KMS keys; else it must outlive the object.
 */
int recipients_new(const struct recipient_options *options, struct aws *aws,
		   struct recipients **ret, struct error *err);
/* From now on recipients_make() adds a slot of this set; alone: beside those of the recipients,
 * else in place of them, without asking KMS. keys must live as long. */
void recipients_use_set(struct recipients *r, const struct set_keys *keys, bool alone);
void recipients_free(struct recipients *r);
/*
 * A fresh data key: KMS GenerateDataKey with the first KMS key, else random; wrapped for the others
 * with KMS Encrypt and the key files. Two names of one KMS key are -EINVAL. slots has room for
 * SEAL_SLOTS_MAX.
 */
int recipients_make(const struct recipients *r, const uint8_t file_id[SEAL_FILE_ID_SIZE],
		    struct secret **ret_key, struct seal_slot *slots, unsigned *ret_count,
		    struct error *err);

/* The same for a key that exists. */
int recipients_wrap(const struct recipients *r, const uint8_t id[SEAL_FILE_ID_SIZE],
		    const struct secret *key, struct seal_slot *slots, unsigned *ret_count,
		    struct error *err);

DEFINE_CLEANUP(struct recipients *, recipients_free)

#endif
