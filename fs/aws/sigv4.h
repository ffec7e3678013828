/*
 * sigv4.h: AWS Signature Version 4 ("Create a signed AWS API request", AWS general reference).
 *
 * Pure: no I/O, no clock, no configuration; the caller passes the time and sends exactly what it
 * had signed. All given headers are signed but those that hops may change (connection, expect,
 * transfer-encoding, upgrade, user-agent, x-amzn-trace-id, sec-websocket-*). Errors: -EINVAL a
 * request that cannot be signed (no host header, bad escape, too many parameters), -ENOMEM,
 * -EIO OpenSSL failed. Thread-safe.
 */
#ifndef SEALEDFS_AWS_SIGV4_H
#define SEALEDFS_AWS_SIGV4_H

#include "crypto/base/secret.h"
#include "fs/net/message.h"

#define SIGV4_HEX_SIZE 65 /* hex SHA-256 and a NUL */

/* How the path becomes canonical. */
enum sigv4_path {
	SIGV4_PATH_GENERAL, /* dots and repeated '/' resolved, the sent path encoded again */
	SIGV4_PATH_S3,	    /* as it is, encoded once */
};

struct sigv4_request {
	const char *method;
	const char *path;		   /* as sent; "" means "/" */
	const char *query;		   /* as sent, without '?'; NULL: none */
	const struct http_header *headers; /* with host and x-amz-date */
	size_t header_count;
	const char *payload_hash; /* hex SHA-256 of the body */
	enum sigv4_path path_rule;
	const char *region;
	const char *service;
	int64_t time_s;
	const char *access_key_id;
	const struct secret *secret_key;
};

/* The steps, for tests and for messages about SignatureDoesNotMatch. Nothing in it is secret. */
struct sigv4_steps {
	char *canonical_request;
	char *string_to_sign;
	char signature[SIGV4_HEX_SIZE];
};
void sigv4_steps_clear(struct sigv4_steps *s);

/* The value of the Authorization header, malloc()ed. steps may be NULL. */
int sigv4_sign(const struct sigv4_request *req, char **ret_authorization,
	       struct sigv4_steps *steps);
/* Hex SHA-256 of a body. 0 or -EIO. */
int sigv4_hash(const void *data, size_t size, char out[SIGV4_HEX_SIZE]);

#endif
