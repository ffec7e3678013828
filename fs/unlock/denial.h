/*
 * denial.h: what a refusal by KMS means for this machine: each PCR beside the value that the key's
 * policy wants. The policy comes from a file, or from KMS if this caller may read it; it decides
 * nothing here. Thread-safe.
 */
#ifndef SEALEDFS_UNLOCK_DENIAL_H
#define SEALEDFS_UNLOCK_DENIAL_H

#include "crypto/base/error.h"
#include "fs/aws/aws.h"

#include <stddef.h>
#include <stdint.h>

struct denial;

/* path: a file that is read now; NULL: none, KMS is asked after a refusal. Errors as open() and
 * keypolicy_parse(). */
int denial_new(const char *path, struct denial **ret, struct error *err);
void denial_free(struct denial *d);

/*
 * Puts this machine's PCRs, and what the policy wants instead, behind KMS's words in *err, which
 * says -EKEYREJECTED. document: what was sent with the Decrypt. May ask KMS for the policy: at most
 * once in DENIAL_ASK_S for a key.
 */
#define DENIAL_ASK_S 300
void denial_explain(struct denial *d, struct aws *aws, const char *key_arn, const uint8_t *document,
		    size_t size, struct error *err);

DEFINE_CLEANUP(struct denial *, denial_free)

#endif
