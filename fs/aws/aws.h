/*
 * aws.h: what every AWS call shares: configuration, credentials, signing, retry. One object for
 * the process; S3 and KMS clients borrow it.
 *
 * Sources of configuration, first wins: explicit option, environment, profile files, IMDSv2
 * (SDK reference guide "Settings reference"). Thread-safe after creation.
 */
#ifndef SEALEDFS_AWS_H
#define SEALEDFS_AWS_H

#include "crypto/base/error.h"
#include "fs/aws/endpoint.h"
#include "fs/aws/options.h"
#include "fs/net/message.h"

struct aws;

/*
 * Reads the configuration; asks no server. options may be NULL. -EINVAL and -EPROTO name the
 * variable, profile or file that cannot be understood.
 */
int aws_new(const struct aws_options *options, struct aws **ret, struct error *err);
/*
 * The partition of the configured region ("aws", "aws-cn", …), whose keys and servers the
 * credentials are for. "aws" when no region is known. -ECANCELED.
 */
int aws_partition(struct aws *a, const char **ret);
/* The region to use if nothing else decides. */
int aws_default_region(struct aws *aws, char ret[ENDPOINT_REGION_MAX], struct error *err);
/* Only when no call is running. */
void aws_free(struct aws *a);
/* Before the first call; only one. */
void aws_observe_retries(struct aws *a, aws_retry_observer *observe, void *arg);
/* Likewise; see http.h. */
void aws_observe_silence(struct aws *a, http_silence_observer *observe, void *arg);
/* Requests to a service so far. Any thread. */
struct aws_counts {
	uint64_t requests;   /* each attempt */
	uint64_t retries;    /* attempts that followed a failed one */
	uint64_t slow_downs; /* answers that asked for fewer requests */
	uint64_t failures;   /* calls that ended with an error, such as 404 */
};
void aws_count(const struct aws *a, enum aws_service service, struct aws_counts *ret);
/* For shutdown: running and later calls fail with -ECANCELED within a second. */
void aws_cancel(struct aws *a);
/* After aws_cancel(), when all its calls have returned: calls work again, to clean up. */
void aws_resume(struct aws *a);

DEFINE_CLEANUP(struct aws *, aws_free)

#endif
