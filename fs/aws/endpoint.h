/*
 * endpoint.h: where a service answers (AWS's endpoint rule sets and partitions; s3 "Virtual
 * hosting of buckets"). Pure functions; nothing is looked up. Thread-safe.
 */
#ifndef SEALEDFS_NET_ENDPOINT_H
#define SEALEDFS_NET_ENDPOINT_H

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
	const char *override; /* URL as endpoint_check_url() made it; NULL: AWS's own */
	bool fips;
	bool dualstack;
};

/* Lower-case letters, digits and '-', starting and ending with a letter or digit. */
bool endpoint_region_valid(const char *region);
/* "amazonaws.com" or what the region's partition has. */
const char *endpoint_suffix(const char *region, bool dualstack);
/* The service's URL without a '/' at its end, malloc()ed. -EINVAL, -ENOMEM. */
int endpoint_url(const struct endpoint_params *p, char **ret);
/* As endpoint_url() for service "s3", with the bucket in the host or the path. */
int endpoint_bucket_url(const struct endpoint_params *p, const char *bucket,
			enum endpoint_style style, char **ret);
/* 1 to 255 of A-Z a-z 0-9 . - _, and not "." or "..": what servers with S3's protocol take. */
bool endpoint_bucket_valid(const char *bucket);
/*
 * Checks a configured URL: http or https, a host, an optional port and path, nothing else. *ret is
 * it in lower case (but its path) without a '/' at its end, malloc()ed. what: for the message.
 */
int endpoint_check_url(const char *url, const char *what, char **ret, struct error *err);
/* The Host header of a URL: without the port where it is the scheme's own. malloc()ed. */
char *endpoint_host(const char *url);

#endif
