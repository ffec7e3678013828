/*
 * reach.h: whether a service answers at all, and with what this process asks it: for diagnosis.
 * Nothing is signed or asked for. Errors as http.h. Thread-safe.
 */
#ifndef SEALEDFS_AWS_REACH_H
#define SEALEDFS_AWS_REACH_H

#include "fs/aws/aws.h"
#include "fs/aws/endpoint.h"

#include <stdint.h>

struct aws_reach {
	char url[256];
	unsigned answer_ms;    /* from the first packet to the first byte of the answer */
	int64_t clock_ahead_s; /* of the server; 0: it did not say */
};

/* service: S3 or KMS, in the configured region. Whatever it answers will do. */
int aws_reach(struct aws *a, enum aws_service service, struct aws_reach *ret, struct error *err);
/* The instance's metadata. -EINVAL: switched off by configuration; -EREMOTEIO: no IMDSv2 there. */
int aws_reach_metadata(struct aws *a, struct aws_reach *ret, struct error *err);
/* The configured region, or the instance's. Errors as imds.h. */
int aws_region(struct aws *a, char ret[ENDPOINT_REGION_MAX], struct error *err);
/* Where the keys come from, static text, and whether they never expire. Errors as
 * credential_chain_get(). */
int aws_key_source(struct aws *a, const char **ret, bool *ret_lasting, struct error *err);
/* How far the servers' clock is ahead, once one refused a request for that; else 0. */
int64_t aws_clock_offset_s(const struct aws *a);

#endif
