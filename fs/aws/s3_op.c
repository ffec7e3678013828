/*
 * S3: one operation. Job: build the call, send it, remember where the bucket is, and read the
 * headers of the answer. Trusts nothing in an answer.
 */
#include "fs/aws/s3_op.h"

#include "crypto/base/encode.h"
#include "fs/aws/s3_xml.h"
#include "fs/net/dates.h"
#include "fs/net/text.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#define MD5_SIZE 16

int s3_bucket_url(const struct aws_config *config, const char *bucket, const char *region,
		  char **ret)
{
	const struct endpoint_params params = {.service = "s3",
					       .region = region,
					       .override = config->endpoints[AWS_SERVICE_S3],
					       .fips = config->fips,
					       .accelerate = config->s3_accelerate,
					       .dualstack = config->s3_dualstack};

	return endpoint_bucket_url(&params, bucket, config->style, ret);
}

static int base_url(void *arg, const char *region, char **ret)
{
	const struct s3_op *op = arg;

	return s3_bucket_url(&op->s3->aws->config, op->s3->bucket, region, ret);
}

static void parse_failure(const struct http_response *resp, struct call_failure *ret)
{
	const char *region = http_response_header(resp, "x-amz-bucket-region");

	if (resp->body_size > 0)
		(void)s3_xml_error(resp->body, resp->body_size, ret);
	if (region)
		text_copy(ret->region, sizeof(ret->region), region);
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
	op->call.anonymous = s3->aws->config.anonymous;
	if (endpoint_bucket_is_express(s3->bucket))
		op->call.signing_name = "s3express";
	if (s3->aws->config.request_payer)
		s3_op_header(op, "x-amz-request-payer", "requester");
	pthread_mutex_lock(&s3->lock);
	memcpy(op->call.region, s3->region, sizeof(s3->region));
	pthread_mutex_unlock(&s3->lock);
	if (op->call.region[0])
		return 0;
	r = aws_default_region(s3->aws, op->call.region, NULL);
	if (r == -ECANCELED)
		return error_set(err, r, "%s: stopped", op->what);
	/* As the AWS CLI does: us-east-1 knows where each bucket is. */
	if (r < 0)
		memcpy(op->call.region, "us-east-1", sizeof("us-east-1"));
	return 0;
}

int s3_op_body(struct s3_op *op, const void *data, size_t size)
{
	uint8_t digest[MD5_SIZE];
	_cleanup_free_ char *text = NULL;

	if (EVP_Digest(size ? data : "", size, digest, NULL, EVP_md5(), NULL) != 1)
		return -EIO;
	text = base64_encode(digest, sizeof(digest));
	if (!text || strlen(text) >= sizeof(op->md5))
		return -ENOMEM;
	memcpy(op->md5, text, strlen(text) + 1);
	op->call.body = data;
	op->call.body_size = size;
	s3_op_header(op, "Content-MD5", op->md5);
	return 0;
}

void s3_op_encryption(struct s3_op *op)
{
	const struct aws_config *c = &op->s3->aws->config;

	if (c->sse)
		s3_op_header(op, "x-amz-server-side-encryption", c->sse);
	if (c->sse_key)
		s3_op_header(op, "x-amz-server-side-encryption-aws-kms-key-id", c->sse_key);
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
	r = call_run(&op->s3->aws->caller, &op->call, &op->resp, ret_attempts, err);
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
	text_copy(ret, S3_ETAG_MAX, etag);
	return 0;
}

int s3_response_info(const struct http_response *resp, struct s3_object *ret)
{
	const char *size = http_response_header(resp, "content-length");
	const char *modified = http_response_header(resp, "last-modified");

	if (s3_response_etag(resp, ret->etag) < 0)
		return -EPROTO;
	if (!modified || date_parse_http(modified, &ret->mtime_s) < 0)
		return -EPROTO;
	if (!size || text_parse_u64(&size, &ret->size) < 0 || *size)
		return -EPROTO;
	return 0;
}

int s3_check_etag(void *arg, const struct http_response *resp, struct error *err)
{
	char etag[S3_ETAG_MAX];

	(void)arg;
	if (resp->status == 200 && s3_response_etag(resp, etag) == 0)
		return 0;
	error_set(err, -EREMOTEIO, "answered %d without a usable ETag", resp->status);
	return RETRY_TRANSIENT;
}
