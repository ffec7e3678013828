/*
 * config.h: what aws_options, the environment and the profile files say about how to talk to AWS,
 * taken once when a struct aws is made. The region may stay open: then it comes from IMDS at the
 * first call. Immutable afterwards.
 */
#ifndef SEALEDFS_NET_CONFIG_H
#define SEALEDFS_NET_CONFIG_H

#include "fs/net/aws.h"
#include "fs/net/endpoint.h"

struct aws_config {
	char *profile;
	bool profile_explicit; /* chosen by option: then the environment's keys do not count */
	bool profile_named;    /* by option or AWS_PROFILE: then it must exist */
	char *region;	       /* NULL: ask IMDS */
	char *endpoints[AWS_SERVICE_COUNT]; /* NULL: AWS's own */
	char *sts_endpoint;
	enum endpoint_style style;
	bool fips;
	bool dualstack;
	char *ca_file; /* of the profile; the environment's is http.c's business */
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
void aws_config_clear(struct aws_config *c);

#endif
