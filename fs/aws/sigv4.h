/*
 * sigv4.h: AWS Signature Version 4 ("Create a signed AWS API request", AWS general reference).
 *
 * Pure: no I/O, no clock, no configuration; the caller passes the time and sends exactly what it
 * had signed. All given headers are signed but those that hops may change (connection, expect,
 * transfer-encoding, upgrade, user-agent, x-amzn-trace-id, sec-websocket-*). Errors: -EINVAL a
 * request that cannot be signed (no host header, bad escape, too many parameters), -ENOMEM,
 * -EIO OpenSSL failed. Thread-safe.
 */
#ifndef SEALEDFS_NET_SIGV4_H
#define SEALEDFS_NET_SIGV4_H

#include "crypto/base/secret.h"
#include "fs/net/http.h"

#define SIGV4_UNSIGNED_PAYLOAD "UNSIGNED-PAYLOAD"
#define SIGV4_EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
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
	const struct http_header *headers; /* with host and, in the header form, x-amz-date */
	size_t header_count;
	const char *payload_hash; /* hex SHA-256 of the body, or SIGV4_UNSIGNED_PAYLOAD */
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
/*
 * The presigned form: the whole query string, malloc()ed. session_token may be NULL; with
 * token_unsigned it is appended after signing, as a few services want.
 */
int sigv4_presign(const struct sigv4_request *req, unsigned expires_s, const char *session_token,
		  bool token_unsigned, char **ret_query, struct sigv4_steps *steps);
/* Hex SHA-256 of a body. 0 or -EIO. */
int sigv4_hash(const void *data, size_t size, char out[SIGV4_HEX_SIZE]);

#endif
