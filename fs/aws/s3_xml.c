/*
 * S3's XML. Job: parse listings, upload ids and errors from hostile text. Trusts xml.c for form;
 * checks every value's range here. Must never keep a key that could not exist in S3.
 */
#include "fs/aws/s3_xml.h"

#include "crypto/base/encode.h"
#include "fs/aws/call.h"
#include "fs/net/dates.h"
#include "fs/net/text.h"
#include "fs/net/xml.h"

#include <errno.h>
#include <string.h>

#define KEY_MAX 1024
#define UPLOAD_ID_MAX 2048

void s3_object_clear(struct s3_object *o)
{
	free(o->key);
	*o = (struct s3_object){0};
}

struct page_parser {
	struct s3_page *page;
	struct s3_object object; /* being read */
	bool has_size;
	bool is_listing;
};

void s3_page_clear(struct s3_page *p)
{
	for (size_t i = 0; i < p->count; i++)
		free(p->objects[i].key);
	free(p->objects);
	p->objects = NULL;
	p->count = p->capacity = 0;
}

static int add_object(struct page_parser *p)
{
	struct s3_page *page = p->page;

	if (!p->object.key || !p->has_size)
		return -EPROTO;
	if (page->count == page->capacity) {
		size_t capacity = page->capacity ? 2 * page->capacity : 64;
		struct s3_object *bigger;

		if (page->capacity >= S3_PAGE_OBJECTS_MAX)
			return -E2BIG;
		bigger = realloc(page->objects, capacity * sizeof(*bigger));
		if (!bigger)
			return -ENOMEM;
		page->objects = bigger;
		page->capacity = capacity;
	}
	page->objects[page->count++] = p->object;
	p->object = (struct s3_object){0};
	p->has_size = false;
	return 0;
}

static int copy_bounded(const char *text, char *dst, size_t size)
{
	size_t length = strlen(text);

	if (length >= size)
		return -EPROTO;
	memcpy(dst, text, length + 1);
	return 0;
}

static int on_object_member(struct page_parser *p, const char *name, const char *text)
{
	struct s3_object *o = &p->object;

	if (strcmp(name, "Key") == 0) {
		if (o->key)
			return -EPROTO;
		o->key = strdup(text);
		return o->key ? 0 : -ENOMEM;
	}
	if (strcmp(name, "Size") == 0) {
		p->has_size = true;
		return number_parse(text, 10, INT64_MAX, &o->size) < 0 ? -EPROTO : 0;
	}
	if (strcmp(name, "ETag") == 0)
		return copy_bounded(text, o->etag, sizeof(o->etag));
	if (strcmp(name, "LastModified") == 0)
		return date_parse_rfc3339(text, &o->mtime_s);
	return 0;
}

/* A part of keys: only if requested. */
static int add_prefix(struct page_parser *p, const char *text)
{
	int r = on_object_member(p, "Key", text);

	if (r == 0)
		r = on_object_member(p, "Size", "0");
	return r < 0 ? r : add_object(p);
}

static int on_page_element(void *arg, const char *path, const char *text)
{
	static const char root[] = "ListBucketResult", member[] = "Contents/";
	struct page_parser *p = arg;

	if (strncmp(path, root, sizeof(root) - 1) != 0)
		return -EPROTO;
	path += sizeof(root) - 1;
	if (!*path) {
		p->is_listing = true;
		return 0;
	}
	if (*path++ != '/')
		return -EPROTO;
	if (strncmp(path, member, sizeof(member) - 1) == 0)
		return on_object_member(p, path + sizeof(member) - 1, text);
	if (strcmp(path, "Contents") == 0)
		return add_object(p);
	if (strcmp(path, "CommonPrefixes/Prefix") == 0)
		return add_prefix(p, text);
	if (strcmp(path, "IsTruncated") == 0)
		p->page->truncated = strcmp(text, "true") == 0;
	else if (strcmp(path, "EncodingType") == 0)
		p->page->url_encoded = strcmp(text, "url") == 0;
	else if (strcmp(path, "NextContinuationToken") == 0)
		return copy_bounded(text, p->page->token, sizeof(p->page->token));
	return 0;
}

/* Keys are decoded only now: EncodingType may follow them. */
static int decode_keys(struct s3_page *page)
{
	for (size_t i = 0; i < page->count; i++) {
		char *key = page->objects[i].key;
		ssize_t size = page->url_encoded ? uri_decode(key, true) : (ssize_t)strlen(key);

		if (size <= 0 || size > KEY_MAX || strlen(key) != (size_t)size)
			return -EPROTO;
	}
	return 0;
}

int s3_xml_page(const void *data, size_t size, struct s3_page *ret)
{
	struct page_parser p = {.page = ret};
	int r = xml_parse(data, size, on_page_element, &p);

	s3_object_clear(&p.object);
	if (r < 0)
		return r;
	if (!p.is_listing || (ret->truncated && !ret->token[0]))
		return -EPROTO;
	return decode_keys(ret);
}

static int on_upload_element(void *arg, const char *path, const char *text)
{
	char **ret = arg;

	if (strcmp(path, "InitiateMultipartUploadResult/UploadId") != 0)
		return 0;
	if (*ret || !text[0] || strlen(text) > UPLOAD_ID_MAX)
		return -EPROTO;
	*ret = strdup(text);
	return *ret ? 0 : -ENOMEM;
}

int s3_xml_upload_id(const void *data, size_t size, char **ret)
{
	char *id = NULL;
	int r = xml_parse(data, size, on_upload_element, &id);

	if (r >= 0 && !id)
		r = -EPROTO;
	if (r < 0) {
		free(id);
		return r;
	}
	*ret = id;
	return 0;
}

struct error_parser {
	struct call_failure *failure;
	bool is_error;
};

static int on_error_element(void *arg, const char *path, const char *text)
{
	struct error_parser *p = arg;
	struct call_failure *f = p->failure;

	if (strcmp(path, "Error") == 0)
		p->is_error = true;
	else if (strcmp(path, "Error/Code") == 0)
		text_copy(f->code, sizeof(f->code), text);
	else if (strcmp(path, "Error/Message") == 0)
		text_copy(f->message, sizeof(f->message), text);
	else if (strcmp(path, "Error/RequestId") == 0)
		text_copy(f->request_id, sizeof(f->request_id), text);
	else if (strcmp(path, "Error/Region") == 0)
		text_copy(f->region, sizeof(f->region), text);
	return 0;
}

int s3_xml_error(const void *data, size_t size, struct call_failure *ret)
{
	struct error_parser p = {.failure = ret};
	int r = xml_parse(data, size, on_error_element, &p);

	return r >= 0 && p.is_error ? 0 : -EPROTO;
}

static int on_complete_element(void *arg, const char *path, const char *text)
{
	int *kind = arg;

	(void)text;
	if (strcmp(path, "CompleteMultipartUploadResult") == 0)
		*kind = 0;
	else if (strcmp(path, "Error") == 0)
		*kind = -EREMOTEIO;
	return 0;
}

int s3_xml_complete(const void *data, size_t size)
{
	int kind = -EPROTO;
	int r = xml_parse(data, size, on_complete_element, &kind);

	return r < 0 ? r : kind;
}
