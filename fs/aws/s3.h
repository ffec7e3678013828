/*
 * s3.h: the few S3 operations that sealedfs needs (Amazon S3 API reference). Each retries with
 * back-off and jitter, refreshes credentials once, follows one region redirect, and keeps to its
 * deadline.
 *
 * Errors: -ENOENT no such bucket or key, -EACCES denied, -ESTALE the ETag changed (412), -EEXIST
 * If-None-Match failed, -EREMOTEIO the server failed or its answer makes no sense, -EKEYREJECTED
 * credentials refused, -ETIMEDOUT the deadline (the message has the last cause), network errors as
 * http.h. Messages name bucket, key, code and request id.
 * Threads: a client may be used by any number of threads.
 */
#ifndef SEALEDFS_AWS_S3_H
#define SEALEDFS_AWS_S3_H

#include "fs/aws/aws.h"
#include "fs/aws/s3_object.h"

struct s3;

int s3_new(struct aws *aws, const char *bucket, struct s3 **ret, struct error *err);
void s3_free(struct s3 *s);

/* One object of a listing; valid during the call. A negative errno ends the listing. */
typedef int s3_listed(void *arg, const struct s3_object *object);
/*
 * ListObjectsV2 over all pages, each object as its page comes. prefix "" lists all. No order is
 * promised (S3 sorts by bytes, other servers may not), nor that no key comes twice. A server that
 * does not come to an end is given up.
 */
int s3_list(struct s3 *s, const char *prefix, s3_listed *listed, void *arg, struct error *err);
/* A few of the keys that begin with prefix; of those that have a '/' behind it only the part up to
 * there, once. */
int s3_list_some(struct s3 *s, const char *prefix, s3_listed *listed, void *arg, struct error *err);

/*
 * Exactly size bytes from offset into buf, with If-Match when etag is not NULL. A short object is
 * -ENODATA.
 */
int s3_get_range(struct s3 *s, const char *key, const char *etag, uint64_t offset, size_t size,
		 uint8_t *buf, struct error *err);
/*
 * Whole small object in fresh memory; -E2BIG when it has more than max bytes. ret_info may be NULL;
 * clear it with s3_object_clear().
 */
int s3_get(struct s3 *s, const char *key, size_t max, uint8_t **ret, size_t *ret_size,
	   struct s3_object *ret_info, struct error *err);
int s3_head(struct s3 *s, const char *key, struct s3_object *ret_info, struct error *err);

/* if_match: NULL: whatever is there; "": create only (-EEXIST); else the ETag that is replaced
 * (-ESTALE, -ENOENT). ret_etag may be NULL. */
int s3_put(struct s3 *s, const char *key, const void *data, size_t size, const char *if_match,
	   char *ret_etag, struct error *err);
/* Succeeds when there was no such key. */
int s3_delete(struct s3 *s, const char *key, struct error *err);

int s3_multipart_create(struct s3 *s, const char *key, char **ret_upload_id, struct error *err);
/* part_number 1 … 10000. ret_etag: S3_ETAG_MAX. Thread-safe for different parts. */
int s3_multipart_part(struct s3 *s, const char *key, const char *upload_id, unsigned part_number,
		      const void *data, size_t size, char *ret_etag, struct error *err);
/* etags[i] is part i + 1. Understands a 200 answer that carries an error. */
int s3_multipart_complete(struct s3 *s, const char *key, const char *upload_id,
			  const char (*etags)[S3_ETAG_MAX], unsigned part_count, struct error *err);
/* Succeeds when there is no such upload (any more). */
int s3_multipart_abort(struct s3 *s, const char *key, const char *upload_id, struct error *err);

DEFINE_CLEANUP(struct s3 *, s3_free)

#endif
