/*
 * endpoint.h: where a service answers (AWS's endpoint rule sets and partitions; s3 "Virtual
 * hosting of buckets"). Pure functions; nothing is looked up. Thread-safe.
 */
#ifndef SEALEDFS_AWS_ENDPOINT_H
#define SEALEDFS_AWS_ENDPOINT_H

#include "crypto/base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define ENDPOINT_REGION_MAX 64 /* with its NUL */

enum endpoint_style {
	ENDPOINT_STYLE_AUTO,	/* path for overrides, IP addresses and dotted names */
	ENDPOINT_STYLE_PATH,	/* https://host/bucket */
	ENDPOINT_STYLE_VIRTUAL, /* https://bucket.host */
};

struct endpoint_params {
	const char *service; /* "s3", "kms", "sts" */
	const char *region;
	const char *override; /* URL as url_check() made it; NULL: AWS's own */
	bool fips;
	bool dualstack;
	bool accelerate; /* S3 Transfer Acceleration, for buckets at AWS */
};

/* Lower-case letters, digits and '-', starting and ending with a letter or digit. */
bool endpoint_region_valid(const char *region);
/* What may stand in a signature for another server than AWS's: letters, digits, '-' and '_'. */
bool endpoint_region_plain(const char *region);
/* "aws", "aws-cn", …: as in ARNs. */
const char *endpoint_partition(const char *region);
/* "amazonaws.com" or what the region's partition has. */
const char *endpoint_suffix(const char *region, bool dualstack);
/* The service's URL without a '/' at its end, malloc()ed. -EINVAL, -ENOMEM. */
int endpoint_url(const struct endpoint_params *p, char **ret);
/*
 * As endpoint_url() for service "s3", with the bucket in the host or the path. bucket may be the
 * ARN of an access point, which is in the host always; the region is then the ARN's.
 */
int endpoint_bucket_url(const struct endpoint_params *p, const char *bucket,
			enum endpoint_style style, char **ret);
/* A directory bucket (S3 Express One Zone) or its access point: signed as service "s3express". */
bool endpoint_bucket_is_express(const char *bucket);
/* Length of the bucket in "BUCKET/PREFIX"; an access point's ARN itself contains a '/'. */
size_t endpoint_bucket_size(const char *spec);
/* "arn:…", well-formed or not: no bucket has a ':' in its name. */
bool endpoint_is_arn(const char *bucket);
/*
 * The region of arn:PARTITION:s3:REGION:ACCOUNT:accesspoint/NAME (or :NAME). -EINVAL: anything
 * else, also access points of many regions, of S3 on Outposts and of Object Lambda.
 */
int endpoint_arn_region(const char *arn, char ret[ENDPOINT_REGION_MAX]);
/* 1 to 255 of A-Z a-z 0-9 . - _, and not "." or "..": what servers with S3's protocol take. */
bool endpoint_bucket_valid(const char *bucket);

#endif
