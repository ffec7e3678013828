/*
 * S3: listings. Job: all keys under a prefix, page by page, each checked against the request.
 * Trusts nothing in a page. Must never loop endlessly on a server that repeats itself, nor return a
 * key outside the prefix.
 */
#include "fs/aws/s3.h"
#include "fs/aws/s3_op.h"
#include "fs/aws/s3_xml.h"
#include "fs/net/text.h"

#include <errno.h>
#include <string.h>

/* 1000 keys of 1024 bytes, each byte three characters, and what surrounds them. */
#define PAGE_BYTES_MAX ((size_t)8 * 1024 * 1024)
/* So many pages may be nearly empty; beyond them there must be so many objects in each, on the
 * average. */
#define SHORT_PAGES_MAX 200
#define OBJECTS_EACH_MIN 10

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

/* some: one short page, folded at '/'. */
static int fetch_page(struct s3 *s, const char *prefix, const char *token, bool some,
		      struct s3_page *ret, struct error *err)
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
	if (some)
		text_append(&query, "delimiter=%2F&");
	text_append(&query, "encoding-type=url&list-type=2&max-keys=");
	text_append(&query, some ? "20&prefix=" : "1000&prefix=");
	text_append_uri(&query, prefix, strlen(prefix), false);
	op.query = text_steal(&query);
	if (!op.query)
		return error_set(err, -ENOMEM, "%s: out of memory", op.what);
	op.call.body_max = PAGE_BYTES_MAX;
	op.call.check = check_page;
	op.data = ret;
	return s3_op_run(&op, NULL, err);
}

static bool keys_have_prefix(const struct s3_page *page, const char *prefix)
{
	size_t size = strlen(prefix);

	for (size_t i = 0; i < page->count; i++)
		if (strncmp(page->objects[i].key, prefix, size) != 0)
			return false;
	return true;
}

/*
 * State of a listing. Repeated tokens are found by Brent's cycle detection: each is compared with a
 * remembered one, which is replaced after 1, 2, 4, … pages.
 */
struct progress {
	char token[S3_TOKEN_MAX], remembered[S3_TOKEN_MAX];
	uint64_t pages, next_power, objects;
};

/* False: the server does not come to an end. */
static bool go_on(struct progress *p, const struct s3_page *page)
{
	p->pages++;
	p->objects += page->count;
	if (!page->truncated)
		return true;
	if (strcmp(page->token, p->token) == 0 || strcmp(page->token, p->remembered) == 0)
		return false;
	memcpy(p->token, page->token, sizeof(p->token));
	if (p->pages >= p->next_power) {
		memcpy(p->remembered, page->token, sizeof(p->remembered));
		p->next_power = 2 * p->pages;
	}
	/* Servers may leave out deleted keys, so pages may be short; but not nearly all of them. */
	return p->pages <= SHORT_PAGES_MAX || p->objects >= p->pages * OBJECTS_EACH_MIN;
}

static int list_pages(struct s3 *s, const char *prefix, struct s3_page *page, struct progress *p,
		      s3_listed *listed, void *arg, struct error *err)
{
	int r;

	do {
		r = fetch_page(s, prefix, p->token, false, page, err);
		if (r < 0)
			return r;
		if (!keys_have_prefix(page, prefix))
			return error_set(err, -EREMOTEIO,
					 "s3://%s/%s: the listing has keys outside the prefix",
					 s->bucket, prefix);
		if (!go_on(p, page))
			return error_set(err, -EREMOTEIO, "s3://%s/%s: the listing does not end",
					 s->bucket, prefix);
		for (size_t i = 0; i < page->count && r == 0; i++)
			r = listed(arg, &page->objects[i]);
	} while (r == 0 && page->truncated);
	return r;
}

int s3_list(struct s3 *s, const char *prefix, s3_listed *listed, void *arg, struct error *err)
{
	_cleanup_(s3_page_clear) struct s3_page page = {0};
	_cleanup_free_ struct progress *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	if (strlen(prefix) > S3_KEY_MAX)
		return error_set(err, -EINVAL, "s3://%s: the prefix is longer than a key",
				 s->bucket);
	return list_pages(s, prefix, &page, p, listed, arg, err);
}

int s3_list_some(struct s3 *s, const char *prefix, s3_listed *listed, void *arg, struct error *err)
{
	_cleanup_(s3_page_clear) struct s3_page page = {0};
	int r = strlen(prefix) > S3_KEY_MAX ? -EINVAL : fetch_page(s, prefix, "", true, &page, err);

	for (size_t i = 0; r == 0 && i < page.count; i++)
		if (strncmp(page.objects[i].key, prefix, strlen(prefix)) == 0)
			r = listed(arg, &page.objects[i]);
	return r;
}
