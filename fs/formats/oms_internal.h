/* What the files of oms.h share. */
#ifndef SEALEDFS_FORMATS_OMS_INTERNAL_H
#define SEALEDFS_FORMATS_OMS_INTERNAL_H

#include "fs/formats/oms.h"

#define OMS_PAYLOAD_TYPE "application/vnd.in-toto+json"
#define OMS_MEDIA_TYPE "application/vnd.dev.sigstore.bundle.v0.3+json"
#define OMS_STATEMENT_TYPE "https://in-toto.io/Statement/v1"
#define OMS_PREDICATE_TYPE "https://model_signing/signature/v1.0"

/* What git keeps, left out of every statement (section 6.2). */
#define OMS_DEFAULT_IGNORED 4
extern const char *const oms_default_ignored[OMS_DEFAULT_IGNORED];

/* "LABEL is no OMS bundle: …" -EPROTO. */
#define oms_refuse(label, err, fmt, ...) \
	error_set(err, -EPROTO, "%s is no OMS bundle: " fmt, label, ##__VA_ARGS__)

/* SHA-256 over the files' digests in the order of the array (section 6.5.1), in hexadecimal. */
int oms_root_digest(const struct oms_file *files, size_t count, char out[2 * SHA256_SIZE + 1]);

#endif
