/*
 * s3_op.h: one S3 operation; what s3.c, s3_list.c and s3_multipart.c share. Internal to fs/aws.
 */
#ifndef SEALEDFS_AWS_S3_OP_H
#define SEALEDFS_AWS_S3_OP_H

#include "fs/aws/aws_internal.h"
#include "fs/aws/s3_object.h"

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
	char md5[32]; /* Content-MD5, while it is a header */
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
/* The body, with the Content-MD5 that S3 demands where objects are locked. -EIO, -ENOMEM. */
int s3_op_body(struct s3_op *op, const void *data, size_t size);
/* How S3 is to encrypt the object, if that is configured. */
void s3_op_encryption(struct s3_op *op);
/* Sends it, and remembers the bucket's region. */
int s3_op_run(struct s3_op *op, unsigned *ret_attempts, struct error *err);
/* Size, time and ETag of an answer's headers. -EPROTO. */
int s3_response_info(const struct http_response *resp, struct s3_object *ret);
/* The check of a call whose answer is 200 with an ETag. */
int s3_check_etag(void *arg, const struct http_response *resp, struct error *err);
/* The URL of a bucket, malloc()ed. -EINVAL, -ENOMEM. */
int s3_bucket_url(const struct aws_config *config, const char *bucket, const char *region,
		  char **ret);
/* The ETag header; -EPROTO when absent or too long. */
int s3_response_etag(const struct http_response *resp, char ret[S3_ETAG_MAX]);

#define _cleanup_s3_op_ _cleanup_(s3_op_clear)

#endif
