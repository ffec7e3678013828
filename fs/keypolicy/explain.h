/*
 * explain.h: why a document would be refused, PCR by PCR. KMS does not return this. Pure;
 * thread-safe.
 */
#ifndef SEALEDFS_KEYPOLICY_EXPLAIN_H
#define SEALEDFS_KEYPOLICY_EXPLAIN_H

#include "fs/keypolicy/policy.h"

#define EXPLAIN_ROWS_MAX 256
#define EXPLAIN_NAME_MAX 64

/* One condition on the document. Borrowed from the policy and the document. */
struct explain_row {
	size_t statement;
	const char *key;      /* kms:RecipientAttestation:… */
	const json_t *wanted; /* a value or a list of them */
	const char *actual;   /* NULL: the document does not have it */
	bool fits;	      /* of an Allow: it is met; of a Deny: it does not apply */
};

struct explanation {
	bool refused;	/* whatever else the policy may depend on */
	bool uncertain; /* not refused, but other conditions decide, too */
	size_t count;
	struct explain_row rows[EXPLAIN_ROWS_MAX];
	size_t nearest;	  /* the Allow that the document fits best; keypolicy_count(): none */
	size_t denied_by; /* keypolicy_count(): no Deny */
};

/* A document's PCRs as context: document is an object of the enclave or not. Values: bytes. 0 or
 * -ENOMEM. */
int explain_put_pcr(json_t *context, bool enclave, unsigned pcr, const void *value, size_t size);

/*
 * Of a kms:Decrypt with this document. principal: who asks, as an ARN; NULL: the principals that
 * the statements themselves name.
 */
void keypolicy_explain(const struct keypolicy *p, const json_t *context, const char *principal,
		       struct explanation *ret);

/* "PCR 4" for kms:RecipientAttestation:NitroTPMPCR4, else the last part of the key. Text from
 * outside. */
const char *explain_name(const char *key, char out[EXPLAIN_NAME_MAX]);
/* "statement 3 (Sid): PCR 4 fits, PCR 7 = … (wanted: …)", of the Allow that fits best. size:
 * the text is cut to it. Text from outside. */
void explain_summary(const struct keypolicy *p, const struct explanation *e, char *out,
		     size_t size);

#endif
