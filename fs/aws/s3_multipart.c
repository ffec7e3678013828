/*
 * S3: multipart uploads. Job: create, send parts, complete, abort, each safe to repeat. Trusts
 * nothing in an answer; knows that a completion may answer 200 and still have failed. Must never
 * report a completion that did not happen.
 */
#include "fs/aws/s3.h"
#include "fs/aws/s3_op.h"
#include "fs/aws/s3_xml.h"
#include "fs/net/text.h"

#include <errno.h>
#include <string.h>

#define PARTS_MAX 10000

static int upload_query(struct s3_op *op, const char *upload_id, unsigned part_number)
{
	_cleanup_text_ struct text query = {0};

	if (part_number)
		text_printf(&query, "partNumber=%u&", part_number);
	text_append(&query, "uploadId=");
	text_append_uri(&query, upload_id, strlen(upload_id), false);
	op->query = text_steal(&query);
	return op->query ? 0 : -ENOMEM;
}

static int check_create(void *arg, const struct http_response *resp, struct error *err)
{
	const struct s3_op *op = arg;
	char **ret = op->data;

	if (resp->status == 200 && s3_xml_upload_id(resp->body, resp->body_size, ret) == 0)
		return 0;
	/* Asking again might leave a second upload behind: final. */
	return error_set(err, -EREMOTEIO, "answered %d without an upload id", resp->status);
}

int s3_multipart_create(struct s3 *s, const char *key, char **ret_upload_id, struct error *err)
{
	_cleanup_s3_op_ struct s3_op op = {0};
	char *id = NULL;
	int r = s3_op_init(&op, s, "POST", key, err);

	if (r < 0)
		return r;
	op.query = strdup("uploads=");
	if (!op.query)
		return error_set(err, -ENOMEM, "%s: out of memory", op.what);
	s3_op_encryption(&op);
	op.call.check = check_create;
	op.call.counts = true;
	op.data = &id;
	r = s3_op_run(&op, NULL, err);
	if (r < 0)
		return r;
	*ret_upload_id = id;
	return 0;
}

int s3_multipart_part(struct s3 *s, const char *key, const char *upload_id, unsigned part_number,
		      const void *data, size_t size, char *ret_etag, struct error *err)
{
	_cleanup_s3_op_ struct s3_op op = {0};
	int r;

	if (part_number < 1 || part_number > PARTS_MAX)
		return error_set(err, -EINVAL, "s3://%s/%s: part %u of an upload: 1 to %d allowed",
				 s->bucket, key, part_number, PARTS_MAX);
	r = s3_op_init(&op, s, "PUT", key, err);
	if (r < 0)
		return r;
	r = upload_query(&op, upload_id, part_number);
	if (r < 0)
		return error_set(err, r, "%s: out of memory", op.what);
	if (s3_op_body(&op, data, size) < 0)
		return error_set(err, -EIO, "%s: cannot hash the body", op.what);
	op.call.check = s3_check_etag;
	r = s3_op_run(&op, NULL, err);
	if (r < 0)
		return error_prefix(err, r, "part %u", part_number);
	return s3_response_etag(&op.resp, ret_etag);
}

static void append_xml_text(struct text *out, const char *s)
{
	for (; *s; s++) {
		switch (*s) {
		case '&':
			text_append(out, "&amp;");
			break;
		case '<':
			text_append(out, "&lt;");
			break;
		case '>':
			text_append(out, "&gt;");
			break;
		case '"':
			text_append(out, "&quot;");
			break;
		default:
			text_append_n(out, s, 1);
		}
	}
}

static char *complete_body(const char (*etags)[S3_ETAG_MAX], unsigned part_count)
{
	_cleanup_text_ struct text out = {0};

	text_append(&out, "<CompleteMultipartUpload "
			  "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
	for (unsigned i = 0; i < part_count; i++) {
		text_printf(&out, "<Part><PartNumber>%u</PartNumber><ETag>", i + 1);
		append_xml_text(&out, etags[i]);
		text_append(&out, "</ETag></Part>");
	}
	text_append(&out, "</CompleteMultipartUpload>");
	return text_steal(&out);
}

static int check_complete(void *arg, const struct http_response *resp, struct error *err)
{
	struct call_failure failure = {0};
	int r = resp->status == 200 && resp->body ? s3_xml_complete(resp->body, resp->body_size)
						  : -EPROTO;

	(void)arg;
	if (r == 0)
		return 0;
	if (r == -EREMOTEIO && s3_xml_error(resp->body, resp->body_size, &failure) == 0) {
		error_set(err, -EREMOTEIO, "200, and then %s: %s (request %s)", failure.code,
			  failure.message, failure.request_id);
		return retry_class_answer(200, failure.code) == RETRY_FATAL ? -EREMOTEIO
									    : RETRY_TRANSIENT;
	}
	error_set(err, -EREMOTEIO, "answered %d with nothing that makes sense", resp->status);
	return RETRY_TRANSIENT;
}

/* Whether the object exists and has that many parts. */
static bool completed_before(struct s3 *s, const char *key, unsigned part_count)
{
	struct s3_object info = {0};
	bool matches = false;
	const char *dash;

	if (s3_head(s, key, &info, NULL) == 0) {
		dash = strrchr(info.etag, '-');
		matches = dash && strtoul(dash + 1, NULL, 10) == part_count;
	}
	s3_object_clear(&info);
	return matches;
}

int s3_multipart_complete(struct s3 *s, const char *key, const char *upload_id,
			  const char (*etags)[S3_ETAG_MAX], unsigned part_count, struct error *err)
{
	_cleanup_s3_op_ struct s3_op op = {0};
	_cleanup_free_ char *body = NULL;
	struct error last = {0};
	unsigned attempts = 0;
	int r;

	if (part_count < 1 || part_count > PARTS_MAX)
		return error_set(err, -EINVAL, "s3://%s/%s: an upload of %u parts: 1 to %d allowed",
				 s->bucket, key, part_count, PARTS_MAX);
	r = s3_op_init(&op, s, "POST", key, err);
	if (r < 0)
		return r;
	body = complete_body(etags, part_count);
	if (!body || upload_query(&op, upload_id, 0) < 0)
		return error_set(err, -ENOMEM, "%s: out of memory", op.what);
	s3_op_header(&op, "Content-Type", "application/xml");
	op.call.body = body;
	op.call.body_size = strlen(body);
	op.call.check = check_complete;
	op.call.counts = true;
	/* Putting thousands of parts together takes minutes, and not every server says so. */
	op.call.answers_late = true;
	r = s3_op_run(&op, &attempts, &last);
	/* An earlier attempt may have been carried out although its answer was lost; servers say
	 * 404 then, or 500. */
	if ((r == -ENOENT || r == -EREMOTEIO) && attempts > 1 &&
	    completed_before(s, key, part_count))
		return 0;
	if (r < 0 && err && !err->code)
		*err = last;
	return r;
}

int s3_multipart_abort(struct s3 *s, const char *key, const char *upload_id, struct error *err)
{
	_cleanup_s3_op_ struct s3_op op = {0};
	int r = s3_op_init(&op, s, "DELETE", key, err);

	if (r < 0)
		return r;
	r = upload_query(&op, upload_id, 0);
	if (r < 0)
		return error_set(err, r, "%s: out of memory", op.what);
	r = s3_op_run(&op, NULL, err);
	/* Already gone: that is the goal. */
	if (r == -ENOENT)
		error_clear(err);
	return r == -ENOENT ? 0 : r;
}
