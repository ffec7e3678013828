/*
 * aws.h: what every AWS call shares: configuration, credentials, signing, retry. One object for
 * the process; S3 and KMS clients borrow it.
 *
 * Sources of configuration, first wins: explicit option, environment, profile files, IMDSv2
 * (SDK reference guide "Settings reference"). Thread-safe after creation.
 */
#ifndef SEALEDFS_AWS_H
#define SEALEDFS_AWS_H

#include "fs/net/http.h"

struct aws;

/* NULL members: from the environment, profile or IMDS. Strings are copied. */
struct aws_options {
	const char *region;
	const char *profile;
	const char *s3_endpoint;  /* URL; implies path style unless virtual_host is set */
	const char *kms_endpoint; /* URL */
	bool path_style;
	bool virtual_host;
	unsigned max_attempts;	   /* 0: AWS_MAX_ATTEMPTS, profile, 10 */
	unsigned stall_timeout_ms; /* no byte for so long fails an attempt; 0: 15,000 */
	/*
	 * For one operation with all its retries; 0: 120,000. Sending gets more: 1 s for each
	 * 64 kB of the body, so that a slow line can upload.
	 */
	unsigned deadline_ms;
};

/* A call has failed and will be tried again: what was asked, and why it failed. throttled: S3 wants
 * fewer requests. From any thread. */
typedef void aws_retry_observer(void *arg, const char *what, const char *why, bool throttled);

/*
 * Reads the configuration; asks no server. options may be NULL. -EINVAL and -EPROTO name the
 * variable, profile or file that cannot be understood.
 */
int aws_new(const struct aws_options *options, struct aws **ret, struct error *err);
/* Only when no call is running. */
void aws_free(struct aws *a);
/* Before the first call; only one. */
void aws_observe_retries(struct aws *a, aws_retry_observer *observe, void *arg);
/* What was asked of a service so far. Any thread. */
enum aws_service { AWS_SERVICE_S3, AWS_SERVICE_KMS, AWS_SERVICE_COUNT };
struct aws_counts {
	uint64_t requests;   /* each attempt */
	uint64_t retries;    /* attempts that followed a failed one */
	uint64_t slow_downs; /* answers that asked for fewer requests */
	uint64_t failures;   /* calls that ended with an error, such as 404 */
};
void aws_count(const struct aws *a, enum aws_service service, struct aws_counts *ret);
/* "s3", "kms": as in host names and signatures. */
const char *aws_service_name(enum aws_service service);
/* For shutdown: running and later calls fail with -ECANCELED within a second. */
void aws_cancel(struct aws *a);
/* After aws_cancel(), when all its calls have returned: calls work again, to clean up. */
void aws_resume(struct aws *a);

DEFINE_CLEANUP(struct aws *, aws_free)

#endif
