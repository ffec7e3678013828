/*
 * kms_limits.h: sizes in KMS's API (AWS KMS API reference, CiphertextBlob and KeyId). Part of
 * kms.h.
 */
#ifndef SEALEDFS_AWS_KMS_LIMITS_H
#define SEALEDFS_AWS_KMS_LIMITS_H

#define KMS_BLOB_MAX 6144
#define KMS_ARN_MAX 2048

#endif
