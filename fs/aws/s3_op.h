/*
 * s3_internal.h: what s3.c, s3_list.c and s3_multipart.c share. Internal to fs/net.
 */
#ifndef SEALEDFS_NET_S3_INTERNAL_H
#define SEALEDFS_NET_S3_INTERNAL_H

#include "fs/net/call.h"
#include "fs/net/s3.h"

#define S3_KEY_MAX 1024

struct s3 {
	struct aws *aws;
	char *bucket;
	pthread_mutex_t lock;
	char region[ENDPOINT_REGION_MAX]; /* where the bucket is; guarded by lock; "": not known */
};

/* One operation: the call, and what its callbacks and messages need. */
struct s3_op {
	struct s3 *s3;
	struct call call;
	struct http_response resp;
	char *what;
	char *path;
	char *query;
	bool creates; /* 412 and 409 mean that the key exists */
	void *data;   /* of the operation's own check() */
};

/*
 * Prepares a call: method, message, path of the key (NULL: the bucket itself). Clear it with
 * s3_op_clear() in any case. -EINVAL for a key that S3 cannot have.
 */
int s3_op_init(struct s3_op *op, struct s3 *s3, const char *method, const char *key,
	       struct error *err);
void s3_op_clear(struct s3_op *op);
void s3_op_header(struct s3_op *op, const char *name, const char *value);
/* Sends it, and remembers the bucket's region. */
int s3_op_run(struct s3_op *op, unsigned *ret_attempts, struct error *err);
/* Size, time and ETag of an answer's headers. -EPROTO. */
int s3_response_info(const struct http_response *resp, struct s3_object *ret);
/* The ETag header; -EPROTO when absent or too long. */
int s3_response_etag(const struct http_response *resp, char ret[S3_ETAG_MAX]);

#define _cleanup_s3_op_ _cleanup_(s3_op_clear)

#endif
