/*
 * ear.h: a verdict as an EAT Attestation Result (draft-ietf-rats-ear-03) with AR4SI trustworthiness
 * vectors (draft-ietf-rats-ar4si), and a JWT of it (RFC 7515, 7518, 7519). Pure. Threads: any.
 *
 * Submodules: "platform" (the document, its freshness, the boot image) and "model" (what the model
 * PCR holds, who sealed it). A claim of the vector that nothing was asked about is left out.
 */
#ifndef SEALEDFS_VERDICT_EAR_H
#define SEALEDFS_VERDICT_EAR_H

#include "attest/verdict/verdict.h"

#include <jansson.h>

enum ear_names {
	EAR_NAMES_2026,	  /* tag:ietf.org,2026:rats/ear#03: "ear_status" */
	EAR_NAMES_DOTTED, /* tag:github.com,2023:veraison/ear: "ear.status", for older readers */
};

/* A new reference; NULL: no memory. issued_s: since 1970. */
json_t *ear_claims(const struct verdict *v, int64_t issued_s, enum ear_names names);

/*
 * Compact serialization, signed with ES256 or ES384, by the key's curve. pem: a private EC key,
 * P-256 or P-384, not encrypted. *ret: the caller's. -EINVAL: another key; -EIO, -ENOMEM.
 */
int jwt_sign(const json_t *claims, const void *pem, size_t pem_size, char **ret, struct error *err);

#endif
