/*
 * S3: listings. Job: all keys under a prefix, page by page, each checked against what was asked.
 * Trusts nothing in a page. Must never loop for ever on a server that repeats itself, nor hand out
 * a key outside the prefix.
 */
#include "fs/net/s3_internal.h"
#include "fs/net/s3_xml.h"
#include "fs/net/text.h"

#include <errno.h>
#include <string.h>

/* 1000 keys of 1024 bytes, each byte three characters, and what surrounds them. */
#define PAGE_BYTES_MAX ((size_t)8 * 1024 * 1024)
#define LISTING_OBJECTS_MAX 2000000
#define EMPTY_PAGES_MAX 16

static int check_page(void *arg, const struct http_response *resp, struct error *err)
{
	const struct s3_op *op = arg;
	struct s3_page *page = op->data;
	int r;

	s3_page_clear(page);
	*page = (struct s3_page){0};
	r = resp->status == 200 ? s3_xml_page(resp->body, resp->body_size, page) : -EPROTO;
	if (r == -ENOMEM)
		return error_set(err, r, "out of memory");
	if (r < 0) {
		error_set(err, -EREMOTEIO, "answered %d with no listing that makes sense",
			  resp->status);
		return RETRY_TRANSIENT;
	}
	return 0;
}

static int fetch_page(struct s3 *s, const char *prefix, const char *token, struct s3_page *ret,
		      struct error *err)
{
	_cleanup_s3_op_ struct s3_op op = {0};
	_cleanup_text_ struct text query = {0};
	int r = s3_op_init(&op, s, "LIST", NULL, err);

	if (r < 0)
		return r;
	op.call.method = "GET";
	if (token[0]) {
		text_append(&query, "continuation-token=");
		text_append_uri(&query, token, strlen(token), false);
		text_append(&query, "&");
	}
	text_append(&query, "encoding-type=url&list-type=2&max-keys=1000&prefix=");
	text_append_uri(&query, prefix, strlen(prefix), false);
	op.query = text_steal(&query);
	if (!op.query)
		return error_set(err, -ENOMEM, "%s: out of memory", op.what);
	op.call.body_max = PAGE_BYTES_MAX;
	op.call.check = check_page;
	op.data = ret;
	return s3_op_run(&op, NULL, err);
}

/* Moves the page's objects to the end of the listing. */
static int append_page(struct s3_listing *l, struct s3_page *page)
{
	size_t more = page->listing.count;
	struct s3_object *bigger;

	if (more == 0)
		return 0;
	if (l->count + more > LISTING_OBJECTS_MAX)
		return -E2BIG;
	bigger = reallocarray(l->objects, l->count + more, sizeof(*bigger));
	if (!bigger)
		return -ENOMEM;
	l->objects = bigger;
	memcpy(l->objects + l->count, page->listing.objects, more * sizeof(*bigger));
	l->count += more;
	page->listing.count = 0;
	return 0;
}

static bool keys_have_prefix(const struct s3_page *page, const char *prefix)
{
	size_t size = strlen(prefix);

	for (size_t i = 0; i < page->listing.count; i++)
		if (strncmp(page->listing.objects[i].key, prefix, size) != 0)
			return false;
	return true;
}

static int compare_keys(const void *a, const void *b)
{
	const struct s3_object *x = a, *y = b;

	return strcmp(x->key, y->key);
}

static bool keys_are_distinct(const struct s3_listing *l)
{
	for (size_t i = 1; i < l->count; i++)
		if (strcmp(l->objects[i - 1].key, l->objects[i].key) == 0)
			return false;
	return true;
}

static int list_pages(struct s3 *s, const char *prefix, struct s3_listing *l, struct s3_page *page,
		      struct error *err)
{
	char token[S3_TOKEN_MAX] = "";
	unsigned empty = 0;
	int r;

	do {
		r = fetch_page(s, prefix, token, page, err);
		if (r < 0)
			return r;
		if (!keys_have_prefix(page, prefix))
			return error_set(err, -EREMOTEIO,
					 "s3://%s/%s: the listing has keys outside the prefix",
					 s->bucket, prefix);
		empty = page->listing.count == 0 ? empty + 1 : 0;
		if (page->truncated && (strcmp(token, page->token) == 0 || empty > EMPTY_PAGES_MAX))
			return error_set(err, -EREMOTEIO, "s3://%s/%s: the listing does not end",
					 s->bucket, prefix);
		memcpy(token, page->token, sizeof(token));
		r = append_page(l, page);
		if (r < 0)
			return error_set(err, r, "s3://%s/%s: too many objects to list", s->bucket,
					 prefix);
	} while (page->truncated);
	return 0;
}

int s3_list(struct s3 *s, const char *prefix, struct s3_listing *ret, struct error *err)
{
	_cleanup_(s3_listing_clear) struct s3_listing l = {0};
	_cleanup_(s3_page_clear) struct s3_page page = {0};
	int r;

	if (strlen(prefix) > S3_KEY_MAX)
		return error_set(err, -EINVAL, "s3://%s: the prefix is longer than a key",
				 s->bucket);
	r = list_pages(s, prefix, &l, &page, err);
	if (r < 0)
		return r;
	/* S3 sorts; not every server with its protocol does. */
	if (l.count > 0)
		qsort(l.objects, l.count, sizeof(l.objects[0]), compare_keys);
	if (!keys_are_distinct(&l))
		return error_set(err, -EREMOTEIO, "s3://%s/%s: the listing repeats a key",
				 s->bucket, prefix);
	*ret = l;
	l = (struct s3_listing){0};
	return 0;
}
