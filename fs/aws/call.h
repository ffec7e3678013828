/*
 * call.h: one signed call to an AWS service with everything around it: keys, signature, retries,
 * back-off, clock, region, deadline. s3.c and kms.c say what to ask and what an answer means; this
 * says how. Internal to fs/aws. Thread-safe.
 */
#ifndef SEALEDFS_AWS_CALL_H
#define SEALEDFS_AWS_CALL_H

#include "fs/aws/config.h"
#include "fs/aws/keys.h"
#include "fs/aws/retry.h"
#include "fs/net/http.h"

#include <stdatomic.h>

#define CALL_HEADERS_MAX 8

/* For whom calls are made. Borrows everything it points to. */
struct caller {
	const struct aws_config *config;
	struct http_client *http;
	/* The keys to sign with, as credential_chain_get(); not for anonymous calls. */
	int (*keys)(void *arg, const struct credentials *rejected, struct credentials **ret,
		    struct error *err);
	void *keys_arg;
	aws_retry_observer *observe; /* may be NULL */
	void *observe_arg;
	struct caller_counters {
		atomic_ullong requests, retries, slow_downs, failures;
	} counters[AWS_SERVICES];
	atomic_llong clock_offset_s; /* server's time minus ours, once a server complained */
};

/* Content of a service's error answer. Untrusted text, cut to size, control characters replaced. */
struct call_failure {
	int status;
	char code[96];
	char message[384];
	char request_id[96];
	char region[ENDPOINT_REGION_MAX]; /* the correct region; "": not stated */
};

struct call {
	enum aws_service service;
	const char *signing_name; /* NULL: the service's */
	bool anonymous;		  /* not signed */
	const char *what;	  /* "GET s3://bucket/key": for messages */
	const char *method;
	/* The URL up to where path begins, for a region; malloc()ed. */
	int (*base_url)(void *arg, const char *region, char **ret);
	const char *path;  /* encoded; begins with '/' or is "" */
	const char *query; /* encoded, without '?'; NULL: none */
	struct http_header headers[CALL_HEADERS_MAX];
	size_t header_count;
	const void *body;
	size_t body_size;
	uint8_t *sink;
	size_t body_max;
	bool secret;
	bool counts;			  /* each sending must show in ret_attempts */
	bool answers_late;		  /* silence is normal: only the deadline counts */
	unsigned max_attempts;		  /* fewer than configured; 0: as configured */
	unsigned deadline_ms;		  /* 0: as configured */
	char region[ENDPOINT_REGION_MAX]; /* to ask; changed by a redirect */
	/* Fills code, message, region from an answer that is no 2xx. */
	void (*parse_failure)(const struct http_response *resp, struct call_failure *ret);
	/*
	 * Looks at a 2xx answer: 0; or RETRY_* > 0 with *err set, to ask again (and report
	 * -EREMOTEIO in the end); or a negative errno, final. NULL: any will do.
	 */
	int (*check)(void *arg, const struct http_response *resp, struct error *err);
	/* The errno of a final failure; may add a hint. */
	int (*map_failure)(void *arg, const struct call_failure *failure, struct error *err);
	void *arg;
};

/*
 * Runs the call; the caller clears *ret also after an error. *ret_attempts (may be NULL) tells how
 * often it was sent.
 */
int call_run(struct caller *caller, struct call *call, struct http_response *ret,
	     unsigned *ret_attempts, struct error *err);

#endif
