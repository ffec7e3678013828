/*
 * kms_arn.h: ARNs of KMS keys, and the pins that limit which keys may be asked (AWS Service
 * Authorization Reference, "Resource types defined by AWS KMS"). Pure functions. Thread-safe.
 */
#ifndef SEALEDFS_AWS_KMS_ARN_H
#define SEALEDFS_AWS_KMS_ARN_H

#include "crypto/base/error.h"
#include "fs/aws/endpoint.h"

#include <stdbool.h>

#define KMS_ACCOUNT_DIGITS 12

struct kms_arn {
	char partition[ENDPOINT_REGION_MAX];
	char region[ENDPOINT_REGION_MAX];
	char account[KMS_ACCOUNT_DIGITS + 1];
	bool multi_region; /* one of several related keys, in different regions */
};

/*
 * arn:PARTITION:kms:REGION:ACCOUNT:key/ID with a UUID or "mrk-" and 32 hex digits as its id, and
 * the partition that the region belongs to. Everything else is -EINVAL, an alias too: its owner can
 * point it at another key at any time.
 */
int kms_arn_parse(const char *text, struct kms_arn *ret);
/* The ARN that a related multi-Region key has there, of the ARN of a key. -EINVAL: too long. */
int kms_arn_in_region(const char *text, const char *region, char *out, size_t size);

/*
 * A pin is a key's ARN, "account/ACCOUNT" or "account/ACCOUNT/REGION". -EINVAL with a message that
 * begins with the pin.
 */
int kms_pin_check(const char *pin, struct error *err);
/* text: what arn was parsed from. pin: as kms_pin_check() accepts it. */
bool kms_pin_matches(const char *pin, const char *text, const struct kms_arn *arn);

#endif
