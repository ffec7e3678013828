/*
 * retry.h: whether, when and how often a failed call is tried again (AWS SDK reference guide,
 * "Retry behavior"; S3 and KMS error tables). Pure but for the clock and the random number of the
 * back-off. Threads: a struct retry belongs to one operation.
 */
#ifndef SEALEDFS_AWS_RETRY_H
#define SEALEDFS_AWS_RETRY_H

#include <stdbool.h>
#include <stdint.h>

/* The required reaction to a service's error code. */
#define RETRY_NONSENSE_ATTEMPTS 4 /* cap for answers that make no sense */

enum retry_class {
	RETRY_FATAL,	   /* final */
	RETRY_TRANSIENT,   /* again after a back-off */
	RETRY_THROTTLED,   /* again after a longer one */
	RETRY_CREDENTIALS, /* once, with new keys */
	RETRY_SKEW,	   /* once, with the server's clock */
	RETRY_REGION,	   /* once, in the region that the answer names */
};

/* From a negative errno of http_perform(). */
enum retry_class retry_class_network(int code);
/* From an answer. code: S3's <Code> or KMS's __type without prefix; "" when there was no body. */
enum retry_class retry_class_answer(int status, const char *code);

struct retry {
	unsigned attempt; /* that runs now, from 1 */
	unsigned max_attempts;
	uint64_t start_ms; /* monotonic */
	uint64_t deadline_ms;
	bool deadline_hit;
};

void retry_start(struct retry *r, unsigned max_attempts, unsigned deadline_ms);
/* Time that is left; 0 when there is none. */
unsigned retry_left_ms(const struct retry *r);
/*
 * How long to wait before the next attempt, or -1: give up. attempts_cap: fewer attempts than
 * configured; 0: no such cap. retry_after_s: the header's value, or -1.
 */
int64_t retry_next(struct retry *r, enum retry_class class, unsigned attempts_cap,
		   int retry_after_s);
/* The cap for an errno of http_perform(): fewer if the server does not answer. */
unsigned retry_network_cap(int code);
/* The value of a Retry-After header in seconds, or -1. */
int retry_parse_after(const char *value);

#endif
