/*
 * Sealed objects below s3://bucket/prefix/. Job: map names to keys and writers to uploads. Trusts
 * fs/net for the protocol; takes no key of a listing as a name before source_name_is_valid()
 * agreed. Must never make an object visible before its commit, nor leave an upload behind:
 * unfinished uploads are not listed but are paid for.
 */
#include "fs/source/s3_source.h"

#include "crypto/base/log.h"
#include "fs/net/s3.h"

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

static int s3_source_list(struct source *base, struct source_listing *ret, struct error *err)
{
	struct s3_source *s = (struct s3_source *)base;
	size_t prefix_size = strlen(s->prefix);
	struct s3_listing l = {0};
	int r = s3_list(s->s3, s->prefix, &l, err);

	for (size_t i = 0; r == 0 && i < l.count; i++) {
		const struct s3_object *o = &l.objects[i];
		const char *name = o->key + prefix_size;

		if (strncmp(o->key, s->prefix, prefix_size) != 0 || !source_name_is_valid(name)) {
			log_debug("s3://%s/%s cannot be a file and is left out", s->bucket, o->key);
			continue;
		}
		r = source_listing_add(ret, name, o->size, o->mtime_s * 1000000000, o->etag);
	}
	s3_listing_clear(&l);
	return r;
}

static int s3_source_stat(struct source *base, const char *name, struct source_object *ret,
			  struct error *err)
{
	struct s3_source *s = (struct s3_source *)base;
	_cleanup_free_ char *key = key_of(s, name);
	struct source_object o = {.name = strdup(name)};
	struct s3_object info = {0};
	int r;

	if (!key || !o.name) {
		free(o.name);
		return -ENOMEM;
	}
	r = s3_head(s->s3, key, &info, err);
	if (r < 0) {
		free(o.name);
		return r;
	}
	o.size = info.size;
	o.mtime_ns = info.mtime_s * 1000000000;
	(void)snprintf(o.version, sizeof(o.version), "%s", info.etag);
	s3_object_clear(&info);
	*ret = o;
	return 0;
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

static int s3_source_put(struct source *base, const char *name, const void *data, size_t size,
			 struct error *err)
{
	struct s3_source *s = (struct s3_source *)base;
	_cleanup_free_ char *key = key_of(s, name);

	return key ? s3_put(s->s3, key, data, size, false, NULL, err) : -ENOMEM;
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
		r = s3_put(w->s3, w->key, w->held, w->held_size, false, NULL, err);
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
	.stat = s3_source_stat,
	.read = s3_source_read,
	.put = s3_source_put,
	.remove = s3_source_remove,
	.writer_new = s3_writer_new,
};

static int parse_spec(struct s3_source *s, const char *spec, struct error *err)
{
	size_t bucket_size = strcspn(spec, "/");
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
