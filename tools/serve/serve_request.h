/*
 * serve_request.h: what a request to the evidence endpoint asks for. Pure functions over bytes from
 * the network; nothing is decoded, corrected or skipped. Paths and members: VERDICT.md, "Evidence".
 * Threads: any.
 */
#ifndef SEALEDFS_TOOLS_SERVE_REQUEST_H
#define SEALEDFS_TOOLS_SERVE_REQUEST_H

#include "crypto/base/error.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#define SERVE_NONCE_MIN 16
#define SERVE_NONCE_MAX 64
#define SERVE_URI_MAX 512
#define SERVE_BODY_MAX ((size_t)9 << 20) /* evidence has at most 8 MiB */

enum serve_what {
	SERVE_TEXT,	/* GET / */
	SERVE_MOUNTS,	/* GET /v1/mounts */
	SERVE_EVIDENCE, /* GET /v1/evidence?nonce=HEX */
	SERVE_NONCE,	/* GET /v1/nonce */
	SERVE_PRESENT,	/* POST /v1/evidence */
};

struct serve_nonce {
	uint8_t bytes[SERVE_NONCE_MAX];
	size_t size; /* SERVE_NONCE_MIN to SERVE_NONCE_MAX */
};

struct serve_request {
	enum serve_what what;
	struct serve_nonce nonce; /* SERVE_EVIDENCE */
};

/*
 * uri: the request's target as it came. 0, or the status to answer with: 400, 404, 405; then
 * *ret_why says why, and with 405 *ret_allow is the method that the path has. Both static.
 */
unsigned serve_request_parse(const char *method, const char *uri, struct serve_request *ret,
			     const char **ret_why, const char **ret_allow);

/* The body of SERVE_PRESENT: the caller's nonce, and its evidence, which the caller frees. Further
 * members are ignored. -EPROTO. */
int serve_body_parse(const void *body, size_t size, struct serve_nonce *ret, json_t **ret_evidence,
		     struct error *err);

#endif
