/*
 * recipients.h: for whom a model is sealed. Each file gets a data key of its own; recipients_make()
 * makes it and wraps it for every recipient.
 */
#ifndef SEALEDFS_TOOLS_RECIPIENTS_H
#define SEALEDFS_TOOLS_RECIPIENTS_H

#include "crypto/slots.h"
#include "fs/net/aws.h"

struct recipients;

struct recipient_options {
	const char *kms_keys[SEAL_SLOTS_MAX]; /* id, ARN or alias; not copied */
	unsigned kms_count;
	const char *keyfiles[SEAL_SLOTS_MAX]; /* paths */
	unsigned keyfile_count;
};

/*
 * Loads the key files. -EINVAL: nobody, too many, or the same one twice. aws may be NULL without
 * KMS keys; else it must outlive the object.
 */
int recipients_new(const struct recipient_options *options, struct aws *aws,
		   struct recipients **ret, struct error *err);
void recipients_free(struct recipients *r);
/*
 * A fresh data key: KMS GenerateDataKey with the first KMS key, else random; wrapped for the others
 * with KMS Encrypt and the key files. Two names of one KMS key are -EINVAL. slots has room for
 * SEAL_SLOTS_MAX.
 */
int recipients_make(const struct recipients *r, const uint8_t file_id[SEAL_FILE_ID_SIZE],
		    struct secret **ret_key, struct seal_slot *slots, unsigned *ret_count,
		    struct error *err);

DEFINE_CLEANUP(struct recipients *, recipients_free)

#endif
