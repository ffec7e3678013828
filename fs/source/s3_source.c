/*
 * Sealed objects below s3://bucket/prefix/. Job: map names to keys and writers to uploads. Trusts
 * fs/net for the protocol; takes no key of a listing as a name before source_name_problem()
 * agreed. Must never make an object visible before its commit, nor leave an upload behind:
 * unfinished uploads are not listed but are charged for.
 */
#include "fs/source/s3_source.h"

#include "crypto/name.h"
#include "fs/aws/endpoint.h"
#include "fs/aws/s3.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define S3_PARTS_MAX 10000

static_assert(SOURCE_VERSION_MAX >= S3_ETAG_MAX, "an ETag is a version");

struct s3_source {
	struct source source;
	struct s3 *s3;
	char *bucket;
	char *prefix; /* empty, or ends in '/' */
};

struct s3_writer {
	struct source_writer writer;
	struct s3 *s3;
	char *key;
	char *upload_id; /* NULL: one PUT at commit */
	char (*etags)[S3_ETAG_MAX];
	uint64_t part_count;
	void *held; /* the only part, until commit */
	size_t held_size;
	bool done; /* committed or aborted */
};

static char *key_of(const struct s3_source *s, const char *name)
{
	char *key = NULL;

	return asprintf(&key, "%s%s", s->prefix, name) < 0 ? NULL : key;
}

static char *s3_source_describe(const struct source *base, const char *name)
{
	const struct s3_source *s = (const struct s3_source *)base;
	char *text = NULL;

	if (asprintf(&text, "s3://%s/%s%s", s->bucket, s->prefix, name) < 0)
		return NULL;
	return text;
}

struct listing_to {
	const struct s3_source *source;
	struct source_listing *listing;
};

static int add_listed(void *arg, const struct s3_object *o)
{
	const struct listing_to *to = arg;
	const struct s3_source *s = to->source;
	size_t prefix_size = strlen(s->prefix);
	const char *name = o->key + prefix_size, *problem = source_name_problem(name);

	/* s3_list() hands out nothing from outside of the prefix. */
	if (problem)
		return source_listing_skip(to->listing, name, problem);
	return source_listing_add(to->listing, name, o->size, o->mtime_s * 1000000000, o->etag);
}

static int s3_source_list(struct source *base, struct source_listing *ret, struct error *err)
{
	struct s3_source *s = (struct s3_source *)base;
	struct listing_to to = {s, ret};

	return s3_list(s->s3, s->prefix, add_listed, &to, err);
}

#define NEARBY_MAX 8

struct nearby {
	char *text; /* "a/, b.seal" */
	size_t count, skip;
};

static int add_nearby(void *arg, const struct s3_object *o)
{
	struct nearby *n = arg;
	_cleanup_free_ char *before = steal_ptr(n->text);
	char printable[NAME_PRINTABLE_SIZE];

	name_printable(o->key + n->skip, printable);
	if (n->count++ >= NEARBY_MAX)
		n->text = steal_ptr(before);
	else if (asprintf(&n->text, "%s%s%s", before ? before : "", before ? ", " : "", printable) <
		 0)
		n->text = NULL;
	return n->text ? 0 : -ENOMEM;
}

/* The size of the prefix without its last part. */
static size_t parent_size(const char *prefix, size_t size)
{
	if (size > 0)
		size--;
	while (size > 0 && prefix[size - 1] != '/')
		size--;
	return size;
}

/* The prefix is the name of an object or of a model: the user meant the prefix that holds it. */
static char *nearby_object(struct s3_source *s)
{
	size_t size = strlen(s->prefix), parent = parent_size(s->prefix, size);
	_cleanup_free_ char *key = size > 0 ? strndup(s->prefix, size - 1) : NULL, *seal = NULL;
	struct s3_object info = {0};
	char *text = NULL;
	int r = -ENOENT;

	if (!key || asprintf(&seal, "%s" SEAL_SUFFIX, key) < 0)
		return NULL;
	r = s3_head(s->s3, key, &info, NULL);
	s3_object_clear(&info);
	if (r < 0) {
		r = s3_head(s->s3, seal, &info, NULL);
		s3_object_clear(&info);
	}
	if (r == 0 &&
	    asprintf(&text, "that is an object, not a prefix: s3://%s/%.*s is where it lies",
		     s->bucket, (int)parent, s->prefix) < 0)
		return NULL;
	return text;
}

static char *s3_source_nearby(struct source *base)
{
	struct s3_source *s = (struct s3_source *)base;
	char *text = nearby_object(s);
	size_t size = strlen(s->prefix);

	while (!text) {
		_cleanup_free_ char *prefix = strndup(s->prefix, size);
		struct nearby n = {.skip = size};
		int r = prefix ? s3_list_some(s->s3, prefix, add_nearby, &n, NULL) : -ENOMEM;

		if (r == 0 && n.count > 0 &&
		    asprintf(&text, "s3://%s/%s has %s%s%s", s->bucket, prefix, n.text,
			     n.count > NEARBY_MAX ? ", …" : "",
			     strchr(s->prefix, '?') ? "; a \"?\" belongs to the prefix, there are "
						      "no queries"
						    : "") < 0)
			text = NULL;
		free(n.text);
		if (r < 0 || (size == 0 && !text))
			break;
		size = parent_size(s->prefix, size);
	}
	return text;
}

static int s3_source_stat(struct source *base, const char *name, struct source_object *ret,
			  struct error *err)
{
	struct s3_source *s = (struct s3_source *)base;
	_cleanup_free_ char *key = key_of(s, name);
	struct s3_object info = {0};
	int r = key ? s3_head(s->s3, key, &info, err) : -ENOMEM;

	if (r < 0)
		return r;
	r = source_object_make(ret, name, info.etag, info.size, info.mtime_s * 1000000000);
	s3_object_clear(&info);
	return r;
}

static int s3_source_read(struct source *base, const char *name, const char *version,
			  uint64_t offset, size_t size, uint8_t *buf, struct error *err)
{
	struct s3_source *s = (struct s3_source *)base;
	_cleanup_free_ char *key = key_of(s, name);

	if (!key)
		return -ENOMEM;
	/* HTTP has no empty range. */
	return size == 0 ? 0 : s3_get_range(s->s3, key, version, offset, size, buf, err);
}

static int s3_source_put(struct source *base, const char *name, const char *version,
			 const void *data, size_t size, struct error *err)
{
	struct s3_source *s = (struct s3_source *)base;
	_cleanup_free_ char *key = key_of(s, name);

	int r = key ? s3_put(s->s3, key, data, size, version, NULL, err) : -ENOMEM;

	return r == -ENOENT && version ? -ESTALE : r;
}

static int s3_source_remove(struct source *base, const char *name, struct error *err)
{
	struct s3_source *s = (struct s3_source *)base;
	_cleanup_free_ char *key = key_of(s, name);

	return key ? s3_delete(s->s3, key, err) : -ENOMEM;
}

static int s3_writer_part(struct source_writer *base, uint64_t part_index, const void *data,
			  size_t size, struct error *err)
{
	struct s3_writer *w = (struct s3_writer *)base;

	if (w->upload_id)
		return s3_multipart_part(w->s3, w->key, w->upload_id, (unsigned)part_index + 1,
					 data, size, w->etags[part_index], err);
	if (!w->held)
		w->held = malloc(size);
	if (!w->held)
		return -ENOMEM;
	memcpy(w->held, data, size);
	w->held_size = size;
	return 0;
}

/*
 * After a failed completion: did the server do it and its answer get lost? A repeated request then
 * finds no upload. Keys of payloads are new for each sealing, so what lies there is this upload.
 */
static bool is_complete(struct s3_writer *w)
{
	struct s3_object info = {0};
	bool there = s3_head(w->s3, w->key, &info, NULL) == 0 && info.size == w->writer.size;

	s3_object_clear(&info);
	return there;
}

static int s3_writer_commit(struct source_writer *base, struct error *err)
{
	struct s3_writer *w = (struct s3_writer *)base;
	int r;

	if (w->upload_id)
		r = s3_multipart_complete(w->s3, w->key, w->upload_id,
					  (const char(*)[S3_ETAG_MAX])w->etags,
					  (unsigned)w->part_count, err);
	else
		r = s3_put(w->s3, w->key, w->held, w->held_size, NULL, NULL, err);
	if (r < 0 && w->upload_id && is_complete(w)) {
		error_clear(err);
		r = 0;
	}
	w->done = r == 0;
	return r;
}

static int s3_writer_abort(struct source_writer *base, struct error *err)
{
	struct s3_writer *w = (struct s3_writer *)base;

	if (w->done || !w->upload_id)
		return 0;
	w->done = true;
	return s3_multipart_abort(w->s3, w->key, w->upload_id, err);
}

static void s3_writer_free(struct source_writer *base)
{
	struct s3_writer *w = (struct s3_writer *)base;

	free(w->key);
	free(w->upload_id);
	free(w->etags);
	free(w->held);
	free(w);
}

static const struct source_writer_ops s3_writer_ops = {
	.part = s3_writer_part,
	.commit = s3_writer_commit,
	.abort = s3_writer_abort,
	.free = s3_writer_free,
};

static int s3_writer_start(struct s3_writer *w, uint64_t size, size_t part_size, struct error *err)
{
	w->part_count = (size + part_size - 1) / part_size;
	if (w->part_count > S3_PARTS_MAX)
		return error_set(err, -E2BIG, "%s: %llu parts; S3 allows %d", w->key,
				 (unsigned long long)w->part_count, S3_PARTS_MAX);
	if (w->part_count <= 1 && size <= SEAL_EXTENT_SIZE)
		return 0;
	w->etags = calloc(w->part_count, sizeof(*w->etags));
	if (!w->etags)
		return -ENOMEM;
	return s3_multipart_create(w->s3, w->key, &w->upload_id, err);
}

static int s3_writer_new(struct source *base, const char *name, uint64_t size, size_t part_size,
			 struct source_writer **ret, struct error *err)
{
	struct s3_source *s = (struct s3_source *)base;
	struct s3_writer *w = calloc(1, sizeof(*w));
	int r = -ENOMEM;

	if (!w)
		return r;
	w->writer.ops = &s3_writer_ops;
	w->s3 = s->s3;
	w->key = key_of(s, name);
	if (w->key)
		r = s3_writer_start(w, size, part_size, err);
	if (r < 0) {
		s3_writer_free(&w->writer);
		return r;
	}
	*ret = &w->writer;
	return 0;
}

static void s3_source_free(struct source *base)
{
	struct s3_source *s = (struct s3_source *)base;

	s3_free(s->s3);
	free(s->bucket);
	free(s->prefix);
	free(s);
}

static const struct source_ops s3_source_ops = {
	.preferred_size = SEAL_EXTENT_SIZE,
	.free = s3_source_free,
	.describe = s3_source_describe,
	.list = s3_source_list,
	.nearby = s3_source_nearby,
	.stat = s3_source_stat,
	.read = s3_source_read,
	.put = s3_source_put,
	.remove = s3_source_remove,
	.writer_new = s3_writer_new,
};

static int parse_spec(struct s3_source *s, const char *spec, struct error *err)
{
	size_t bucket_size = endpoint_bucket_size(spec);
	const char *prefix = spec + bucket_size;
	size_t prefix_size;

	prefix += strspn(prefix, "/");
	prefix_size = strlen(prefix);
	while (prefix_size > 0 && prefix[prefix_size - 1] == '/')
		prefix_size--;
	if (bucket_size == 0)
		return error_set(err, -EINVAL, "s3://%s names no bucket", spec);
	s->bucket = strndup(spec, bucket_size);
	if (!s->bucket ||
	    asprintf(&s->prefix, "%.*s%s", (int)prefix_size, prefix, prefix_size ? "/" : "") < 0) {
		s->prefix = NULL;
		return -ENOMEM;
	}
	return 0;
}

int s3_source_open(const char *spec, struct aws *aws, struct source **ret, struct error *err)
{
	struct s3_source *s;
	int r;

	if (!aws)
		return error_set(err, -EINVAL, "s3://%s: S3 is not set up here", spec);
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->source.ops = &s3_source_ops;
	r = parse_spec(s, spec, err);
	if (r == 0)
		r = s3_new(aws, s->bucket, &s->s3, err);
	if (r < 0) {
		s3_source_free(&s->source);
		return r;
	}
	*ret = &s->source;
	return 0;
}
