/*
 * s3_object.h: an object as listings and headers describe it. Part of s3.h.
 */
#ifndef SEALEDFS_AWS_S3_OBJECT_H
#define SEALEDFS_AWS_S3_OBJECT_H

#include <stdint.h>

#define S3_ETAG_MAX 128

struct s3_object {
	char *key;
	uint64_t size;		/* bytes */
	int64_t mtime_s;	/* LastModified, seconds since 1970 */
	char etag[S3_ETAG_MAX]; /* with its quotes, opaque */
};

void s3_object_clear(struct s3_object *o);

#endif
