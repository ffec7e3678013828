/*
 * S3: single objects. Job: ask for exact byte ranges of exact versions, and put small objects.
 * Trusts nothing in an answer: status, Content-Range, length and ETag must all be what was asked
 * for, or it is asked again and then reported as the server's failure. Must never hand out bytes
 * of another version of an object than the caller named.
 */
#include "fs/net/s3.h"

#include "fs/net/clock.h"
#include "fs/net/s3_internal.h"
#include "fs/net/s3_xml.h"
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

int s3_new(struct aws *aws, const char *bucket, struct s3 **ret, struct error *err)
{
	_cleanup_(s3_freep) struct s3 *s = NULL;

	if (!endpoint_bucket_valid(bucket))
		return error_set(err, -EINVAL, "not a bucket name: %.80s", bucket);
	s = calloc(1, sizeof(*s));
	if (!s)
		return error_set(err, -ENOMEM, "s3://%s: out of memory", bucket);
	pthread_mutex_init(&s->lock, NULL);
	s->aws = aws;
	s->bucket = strdup(bucket);
	if (!s->bucket)
		return error_set(err, -ENOMEM, "s3://%s: out of memory", bucket);
	*ret = steal_ptr(s);
	return 0;
}

static int base_url(void *arg, const char *region, char **ret)
{
	const struct s3_op *op = arg;
	const struct aws_config *config = &op->s3->aws->config;
	const struct endpoint_params params = {.service = "s3",
					       .region = region,
					       .override = config->endpoints[AWS_SERVICE_S3],
					       .fips = config->fips,
					       .dualstack = config->dualstack};

	return endpoint_bucket_url(&params, op->s3->bucket, config->style, ret);
}

static void parse_failure(const struct http_response *resp, struct call_failure *ret)
{
	const char *region = http_response_header(resp, "x-amz-bucket-region");

	if (resp->body_size > 0)
		(void)s3_xml_error(resp->body, resp->body_size, ret);
	if (region)
		call_copy_text(ret->region, sizeof(ret->region), region);
}

static bool is_credential_code(const char *code)
{
	static const char *const codes[] = {
		"ExpiredToken",		 "InvalidToken",
		"TokenRefreshRequired",	 "InvalidAccessKeyId",
		"SignatureDoesNotMatch", "RequestTimeTooSkewed",
		"RequestExpired",	 "AuthorizationHeaderMalformed"};

	for (size_t i = 0; i < ARRAY_LEN(codes); i++)
		if (strcmp(code, codes[i]) == 0)
			return true;
	return false;
}

static int map_failure(void *arg, const struct call_failure *f, struct error *err)
{
	const struct s3_op *op = arg;

	if (is_credential_code(f->code)) {
		error_hint(err, strcmp(f->code, "RequestTimeTooSkewed") == 0
					? "set this machine's clock"
					: "check the AWS keys and the region");
		return -EKEYREJECTED;
	}
	switch (f->status) {
	case 401:
	case 403:
		error_hint(err,
			   "check the role's policy for this object, and s3:ListBucket, without "
			   "which a missing object looks denied");
		return -EACCES;
	case 404:
		return -ENOENT;
	case 409:
		return op->creates ? -EEXIST : -EREMOTEIO;
	case 412:
		return op->creates ? -EEXIST : -ESTALE;
	case 416:
		return -ENODATA;
	case 301:
	case 307:
		error_hint(err, "set AWS_REGION to the bucket's region");
		return -EREMOTEIO;
	default:
		return -EREMOTEIO;
	}
}

static bool key_valid(const char *key)
{
	size_t size = strlen(key);

	return size > 0 && size <= S3_KEY_MAX;
}

int s3_op_init(struct s3_op *op, struct s3 *s3, const char *method, const char *key,
	       struct error *err)
{
	_cleanup_text_ struct text path = {0};
	int r;

	*op = (struct s3_op){.s3 = s3};
	if (key && !key_valid(key))
		return error_set(err, -EINVAL, "s3://%s: a key has 1 to %d bytes", s3->bucket,
				 S3_KEY_MAX);
	if (asprintf(&op->what, "%s s3://%s/%s", method, s3->bucket, key ? key : "") < 0)
		op->what = NULL;
	text_append(&path, "/");
	if (key)
		text_append_uri(&path, key, strlen(key), true);
	op->path = text_steal(&path);
	if (!op->what || !op->path)
		return error_set(err, -ENOMEM, "s3://%s: out of memory", s3->bucket);
	op->call = (struct call){.service = AWS_SERVICE_S3,
				 .what = op->what,
				 .method = method,
				 .base_url = base_url,
				 .path = op->path,
				 .parse_failure = parse_failure,
				 .map_failure = map_failure,
				 .arg = op,
				 .body_max = HTTP_ERROR_BODY_MAX};
	pthread_mutex_lock(&s3->lock);
	memcpy(op->call.region, s3->region, sizeof(s3->region));
	pthread_mutex_unlock(&s3->lock);
	if (op->call.region[0])
		return 0;
	r = aws_default_region(s3->aws, op->call.region, err);
	return r < 0 ? error_prefix(err, r, "%s", op->what) : 0;
}

void s3_op_clear(struct s3_op *op)
{
	http_response_clear(&op->resp);
	free(op->what);
	free(op->path);
	free(op->query);
	*op = (struct s3_op){0};
}

void s3_op_header(struct s3_op *op, const char *name, const char *value)
{
	op->call.headers[op->call.header_count++] = (struct http_header){name, value};
}

int s3_op_run(struct s3_op *op, unsigned *ret_attempts, struct error *err)
{
	int r;

	op->call.query = op->query;
	r = call_run(op->s3->aws, &op->call, &op->resp, ret_attempts, err);
	if (r < 0)
		return r;
	pthread_mutex_lock(&op->s3->lock);
	memcpy(op->s3->region, op->call.region, sizeof(op->s3->region));
	pthread_mutex_unlock(&op->s3->lock);
	return 0;
}

int s3_response_etag(const struct http_response *resp, char ret[S3_ETAG_MAX])
{
	const char *etag = http_response_header(resp, "etag");

	if (!etag || !etag[0] || strlen(etag) >= S3_ETAG_MAX)
		return -EPROTO;
	call_copy_text(ret, S3_ETAG_MAX, etag);
	return 0;
}

static int parse_u64(const char **text, uint64_t *ret)
{
	const char *p = *text;
	uint64_t value = 0;

	if (*p < '0' || *p > '9')
		return -EPROTO;
	for (; *p >= '0' && *p <= '9'; p++) {
		if (value > UINT64_MAX / 10 - 1)
			return -EPROTO;
		value = value * 10 + (uint64_t)(*p - '0');
	}
	*text = p;
	*ret = value;
	return 0;
}

int s3_response_info(const struct http_response *resp, struct s3_object *ret)
{
	const char *size = http_response_header(resp, "content-length");
	const char *modified = http_response_header(resp, "last-modified");

	if (s3_response_etag(resp, ret->etag) < 0)
		return -EPROTO;
	if (!modified || clock_parse_http(modified, &ret->mtime_s) < 0)
		return -EPROTO;
	if (!size || parse_u64(&size, &ret->size) < 0 || *size)
		return -EPROTO;
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
	if (parse_u64(&text, first) < 0 || *text++ != '-' || parse_u64(&text, last) < 0 ||
	    *text++ != '/' || parse_u64(&text, total) < 0 || *text)
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

static int check_etag(void *arg, const struct http_response *resp, struct error *err)
{
	char etag[S3_ETAG_MAX];

	(void)arg;
	if (resp->status == 200 && s3_response_etag(resp, etag) == 0)
		return 0;
	error_set(err, -EREMOTEIO, "answered %d without a usable ETag", resp->status);
	return RETRY_TRANSIENT;
}

/* Whether the object is these bytes. */
static bool holds(struct s3 *s, const char *key, const void *data, size_t size)
{
	_cleanup_free_ uint8_t *found = NULL;
	size_t found_size = 0;

	return s3_get(s, key, size, &found, &found_size, NULL, NULL) == 0 && found_size == size &&
	       (size == 0 || memcmp(found, data, size) == 0);
}

int s3_put(struct s3 *s, const char *key, const void *data, size_t size, bool if_none_match,
	   char *ret_etag, struct error *err)
{
	_cleanup_s3_op_ struct s3_op op = {0};
	struct s3_object info = {0};
	struct error last = {0};
	unsigned attempts = 0;
	int r = s3_op_init(&op, s, "PUT", key, err);

	if (r < 0)
		return r;
	op.call.body = data;
	op.call.body_size = size;
	op.call.check = check_etag;
	op.creates = if_none_match;
	op.call.counts = if_none_match;
	if (if_none_match)
		s3_op_header(&op, "If-None-Match", "*");
	r = s3_op_run(&op, &attempts, &last);
	/* It may exist because of an earlier attempt whose answer was lost. */
	if (r == -EEXIST && attempts > 1 && holds(s, key, data, size)) {
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
