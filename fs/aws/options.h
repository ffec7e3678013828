/*
 * options.h: what a program chooses about its AWS calls. Part of aws.h.
 */
#ifndef SEALEDFS_AWS_OPTIONS_H
#define SEALEDFS_AWS_OPTIONS_H

#include "fs/net/transport.h"

#include <stdbool.h>

enum aws_service {
	AWS_SERVICE_S3,
	AWS_SERVICE_KMS,
	AWS_SERVICE_COUNT, /* of those whose calls aws_count() reports */
	AWS_SERVICE_STS = AWS_SERVICE_COUNT,
	AWS_SERVICE_SSO,
	AWS_SERVICES,
};

/* "s3", "kms", …: as in host names, signatures and profile files. */
const char *aws_service_name(enum aws_service service);

/* NULL members: from the environment, profile or IMDS. Strings are copied. */
struct aws_options {
	const char *region;
	const char *profile;
	const char *s3_endpoint;  /* URL; implies path style */
	const char *kms_endpoint; /* URL */
	/* Servers that may be contacted without TLS: transport.h. Borrowed until aws_free(). */
	struct transport_hosts allow_http;
	/* The only ways to servers: values of net=, fs/net/route.h. Not needed after aws_new(). */
	struct transport_hosts net;
	bool interactive; /* a person runs this: may start credential_process, ask for MFA codes */
	bool path_style;
	bool anonymous;	    /* S3 without credentials */
	bool request_payer; /* x-amz-request-payer: requester */
	const char *sse;    /* of uploads: AES256, aws:kms[:KEY], aws:kms:dsse[:KEY]; NULL: none */
};

/* A call has failed and will be tried again: what was asked, and why it failed. throttled: S3 wants
 * fewer requests. From any thread. */
typedef void aws_retry_observer(void *arg, const char *what, const char *why, bool throttled);

#endif
