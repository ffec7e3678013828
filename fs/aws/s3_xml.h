/*
 * s3_xml.h: S3's XML answers as structures. Input is untrusted; everything is bounded. Internal to
 * fs/aws. Thread-safe.
 */
#ifndef SEALEDFS_AWS_S3_XML_H
#define SEALEDFS_AWS_S3_XML_H

#include "fs/aws/s3_object.h"

#include <stdbool.h>
#include <stddef.h>

struct call_failure;

#define S3_PAGE_OBJECTS_MAX 10000
#define S3_TOKEN_MAX 4096

struct s3_page {
	struct s3_object *objects;
	size_t count, capacity;
	bool url_encoded; /* keys are, according to the answer */
	bool truncated;
	char token[S3_TOKEN_MAX]; /* "": none */
};

/* A page of ListObjectsV2. Keys are decoded. -EPROTO, -E2BIG, -ENOMEM; clear it in any case. */
int s3_xml_page(const void *data, size_t size, struct s3_page *ret);
void s3_page_clear(struct s3_page *p);
/* The upload id of CreateMultipartUpload, malloc()ed. -EPROTO, -ENOMEM. */
int s3_xml_upload_id(const void *data, size_t size, char **ret);
/*
 * An <Error> body. 0 when it was one, else -EPROTO. Only code, message, request id and region of
 * *ret are written, and only those that the body has.
 */
int s3_xml_error(const void *data, size_t size, struct call_failure *ret);
/* 0 when the body is a CompleteMultipartUploadResult, -EREMOTEIO for an <Error>, else -EPROTO. */
int s3_xml_complete(const void *data, size_t size);

#endif
