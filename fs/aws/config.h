/*
 * config.h: what aws_options, the environment and the profile files say about how to talk to AWS,
 * taken once when a struct aws is made. The region may stay unset: then it comes from IMDS at the
 * first call. Immutable afterwards.
 */
#ifndef SEALEDFS_AWS_CONFIG_H
#define SEALEDFS_AWS_CONFIG_H

#include "crypto/base/error.h"
#include "fs/aws/endpoint.h"
#include "fs/aws/options.h"

struct aws_config {
	char *profile;
	bool profile_explicit; /* chosen by option: then the environment's keys do not count */
	bool profile_named;    /* by option or AWS_PROFILE: then it must exist */
	char *region;	       /* NULL: ask IMDS */
	char *endpoints[AWS_SERVICES]; /* NULL: AWS's own */
	bool sts_legacy;	       /* one STS for the older regions */
	bool interactive;
	bool anonymous, request_payer;
	char *sse, *sse_key;		   /* NULL: not said */
	struct transport_hosts allow_http; /* borrowed from aws_options */
	enum endpoint_style style;
	bool fips;
	bool dualstack;
	bool s3_dualstack, s3_accelerate;
	char *ca_file; /* NULL: the system's roots */
	unsigned max_attempts;
	unsigned stall_timeout_ms;
	unsigned deadline_ms;
	bool imds_disabled;
	char *imds_endpoint;
	unsigned imds_timeout_ms;
	unsigned imds_attempts;
};

/* *ret is zero-filled by the caller and cleared with aws_config_clear() also after an error. */
int aws_config_load(const struct aws_options *options, struct aws_config *ret, struct error *err);
/* The value of an environment variable; NULL: not set, or empty. */
const char *aws_env(const char *name);
void aws_config_clear(struct aws_config *c);

#endif
