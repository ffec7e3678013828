/*
 * S3: single objects. Job: ask for exact byte ranges of exact versions, and put small objects.
 * Trusts nothing in an answer: status, Content-Range, length and ETag must all match the request,
 * or it is repeated and then reported as the server's failure. Must never return bytes of a version
 * of an object other than the caller named.
 */
#include "fs/aws/s3.h"

#include "fs/aws/s3_op.h"
#include "fs/net/text.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

void s3_free(struct s3 *s)
{
	if (!s)
		return;
	pthread_mutex_destroy(&s->lock);
	free(s->bucket);
	free(s);
}

static int check_arn(const struct aws *aws, const char *arn, char ret_region[ENDPOINT_REGION_MAX],
		     struct error *err)
{
	_cleanup_free_ char *url = NULL;
	int r = endpoint_arn_region(arn, ret_region);

	if (r < 0) {
		error_hint(err, "give arn:PARTITION:s3:REGION:ACCOUNT:accesspoint/NAME, or the "
				"access point's alias (NAME-...-s3alias) as the bucket");
		return error_set(err, r, "not the ARN of an S3 access point: %.200s", arn);
	}
	r = s3_bucket_url(&aws->config, arn, ret_region, &url);
	if (r == -EINVAL)
		return error_set(err, r,
				 "%.200s: an access point is a host name, which neither an "
				 "S3 endpoint given by its address nor acceleration has",
				 arn);
	return r;
}

int s3_new(struct aws *aws, const char *bucket, struct s3 **ret, struct error *err)
{
	_cleanup_(s3_freep) struct s3 *s = NULL;
	char region[ENDPOINT_REGION_MAX] = "";
	int r;

	if (endpoint_is_arn(bucket)) {
		r = check_arn(aws, bucket, region, err);
		if (r < 0)
			return r;
	} else if (!endpoint_bucket_valid(bucket)) {
		return error_set(err, -EINVAL, "not a bucket name: %.80s", bucket);
	}
	s = calloc(1, sizeof(*s));
	if (!s)
		return error_set(err, -ENOMEM, "s3://%s: out of memory", bucket);
	pthread_mutex_init(&s->lock, NULL);
	s->aws = aws;
	memcpy(s->region, region, sizeof(region));
	s->bucket = strdup(bucket);
	if (!s->bucket)
		return error_set(err, -ENOMEM, "s3://%s: out of memory", bucket);
	*ret = steal_ptr(s);
	return 0;
}

struct range {
	const char *etag;
	uint64_t first;
	uint64_t last;
};

/* "bytes a-b/total". */
static int parse_content_range(const char *text, uint64_t *first, uint64_t *last, uint64_t *total)
{
	if (!text || strncmp(text, "bytes ", 6) != 0)
		return -EPROTO;
	text += 6;
	if (text_parse_u64(&text, first) < 0 || *text++ != '-' || text_parse_u64(&text, last) < 0 ||
	    *text++ != '/' || text_parse_u64(&text, total) < 0 || *text)
		return -EPROTO;
	return *first <= *last && *last < *total ? 0 : -EPROTO;
}

static int check_range(void *arg, const struct http_response *resp, struct error *err)
{
	const struct s3_op *op = arg;
	const struct range *want = op->data;
	const char *header = http_response_header(resp, "content-range");
	const char *etag = http_response_header(resp, "etag");
	uint64_t first, last, total;

	if (resp->status != 206) {
		error_set(err, -EREMOTEIO, "asked for a range, was answered %d", resp->status);
		return RETRY_TRANSIENT;
	}
	/* A server that ignores If-Match must not get another version past us. */
	if (want->etag && etag && strcmp(etag, want->etag) != 0)
		return error_set(err, -ESTALE, "the object changed: ETag %.80s, not %.80s", etag,
				 want->etag);
	if (parse_content_range(header, &first, &last, &total) < 0 || first != want->first ||
	    last > want->last) {
		error_set(err, -EREMOTEIO,
			  "asked for bytes %" PRIu64 "-%" PRIu64 ", was answered %.60s",
			  want->first, want->last, header ? header : "none");
		return RETRY_TRANSIENT;
	}
	if (last < want->last && last + 1 == total)
		return error_set(err, -ENODATA,
				 "ends at byte %" PRIu64 ", asked for %" PRIu64 "-%" PRIu64, total,
				 want->first, want->last);
	if (last != want->last || resp->body_size != last - first + 1) {
		error_set(err, -EREMOTEIO, "%zu bytes in the body, not %" PRIu64, resp->body_size,
			  want->last - want->first + 1);
		return RETRY_TRANSIENT;
	}
	return 0;
}

int s3_get_range(struct s3 *s, const char *key, const char *etag, uint64_t offset, size_t size,
		 uint8_t *buf, struct error *err)
{
	_cleanup_s3_op_ struct s3_op op = {0};
	struct range want = {.etag = etag, .first = offset, .last = offset + size - 1};
	char range[64];
	int r;

	if (size == 0)
		return 0;
	if (want.last < offset)
		return error_set(err, -EINVAL, "s3://%s/%s: range out of bounds", s->bucket, key);
	r = s3_op_init(&op, s, "GET", key, err);
	if (r < 0)
		return r;
	(void)snprintf(range, sizeof(range), "bytes=%" PRIu64 "-%" PRIu64, want.first, want.last);
	s3_op_header(&op, "Range", range);
	if (etag)
		s3_op_header(&op, "If-Match", etag);
	op.call.sink = buf;
	op.call.body_max = size;
	op.call.check = check_range;
	op.data = &want;
	return s3_op_run(&op, NULL, err);
}

static int check_whole(void *arg, const struct http_response *resp, struct error *err)
{
	struct s3_object info = {0};

	(void)arg;
	if (resp->status != 200 || s3_response_info(resp, &info) < 0) {
		error_set(err, -EREMOTEIO,
			  "answered %d without usable ETag, Last-Modified or Content-Length",
			  resp->status);
		return RETRY_TRANSIENT;
	}
	return 0;
}

static int fill_info(const struct s3_op *op, const char *key, struct s3_object *ret,
		     struct error *err)
{
	struct s3_object info = {0};

	if (!ret)
		return 0;
	if (s3_response_info(&op->resp, &info) < 0)
		return error_set(err, -EREMOTEIO, "%s: malformed headers", op->what);
	info.key = strdup(key);
	if (!info.key)
		return error_set(err, -ENOMEM, "%s: out of memory", op->what);
	*ret = info;
	return 0;
}

int s3_get(struct s3 *s, const char *key, size_t max, uint8_t **ret, size_t *ret_size,
	   struct s3_object *ret_info, struct error *err)
{
	_cleanup_s3_op_ struct s3_op op = {0};
	_cleanup_free_ uint8_t *empty = NULL;
	int r = s3_op_init(&op, s, "GET", key, err);

	if (r < 0)
		return r;
	op.call.body_max = max;
	op.call.check = check_whole;
	r = s3_op_run(&op, NULL, err);
	if (r < 0)
		return r;
	if (!op.resp.body) {
		empty = calloc(1, 1);
		if (!empty)
			return error_set(err, -ENOMEM, "%s: out of memory", op.what);
	}
	r = fill_info(&op, key, ret_info, err);
	if (r < 0)
		return r;
	*ret_size = op.resp.body_size;
	*ret = op.resp.body ? steal_ptr(op.resp.body) : steal_ptr(empty);
	return 0;
}

int s3_head(struct s3 *s, const char *key, struct s3_object *ret_info, struct error *err)
{
	_cleanup_s3_op_ struct s3_op op = {0};
	int r = s3_op_init(&op, s, "HEAD", key, err);

	if (r < 0)
		return r;
	op.call.check = check_whole;
	r = s3_op_run(&op, NULL, err);
	return r < 0 ? r : fill_info(&op, key, ret_info, err);
}

/* Whether the object is these bytes. */
static bool holds(struct s3 *s, const char *key, const void *data, size_t size)
{
	_cleanup_free_ uint8_t *found = NULL;
	size_t found_size = 0;

	return s3_get(s, key, size, &found, &found_size, NULL, NULL) == 0 && found_size == size &&
	       (size == 0 || memcmp(found, data, size) == 0);
}

int s3_put(struct s3 *s, const char *key, const void *data, size_t size, const char *if_match,
	   char *ret_etag, struct error *err)
{
	_cleanup_s3_op_ struct s3_op op = {0};
	struct s3_object info = {0};
	struct error last = {0};
	unsigned attempts = 0;
	int r = s3_op_init(&op, s, "PUT", key, err);

	if (r < 0)
		return r;
	if (s3_op_body(&op, data, size) < 0)
		return error_set(err, -EIO, "%s: cannot hash the body", op.what);
	s3_op_encryption(&op);
	op.call.check = s3_check_etag;
	op.creates = if_match && !*if_match;
	op.call.counts = if_match != NULL;
	if (op.creates)
		s3_op_header(&op, "If-None-Match", "*");
	else if (if_match)
		s3_op_header(&op, "If-Match", if_match);
	r = s3_op_run(&op, &attempts, &last);
	/* It may exist because of an earlier attempt whose answer was lost. */
	if ((r == -EEXIST || (r == -ESTALE && if_match)) && attempts > 1 &&
	    holds(s, key, data, size)) {
		r = s3_head(s, key, &info, err);
		if (r >= 0 && ret_etag)
			memcpy(ret_etag, info.etag, S3_ETAG_MAX);
		s3_object_clear(&info);
		return r;
	}
	if (r < 0 && err && !err->code)
		*err = last;
	if (r >= 0 && ret_etag)
		r = s3_response_etag(&op.resp, ret_etag);
	return r;
}

int s3_delete(struct s3 *s, const char *key, struct error *err)
{
	_cleanup_s3_op_ struct s3_op op = {0};
	int r = s3_op_init(&op, s, "DELETE", key, err);

	return r < 0 ? r : s3_op_run(&op, NULL, err);
}
