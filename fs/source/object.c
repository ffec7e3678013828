/*
 * The one door to sealed objects, whatever holds them. Job: pick the backend, refuse names that
 * could leave the source's root, and keep the rules that all writers share (part sizes, every part
 * present before a commit). Trusts its backends to move bytes; trusts no name, since names come
 * from listings that others control. Must never see plaintext or a key.
 */
#include "fs/source/source.h"

#include "fs/source/directory.h"
#include "fs/source/s3_source.h"
#include "fs/source/source_backend.h"

#include <errno.h>
#include <string.h>

#define S3_SCHEME "s3://"

bool source_spec_is_s3(const char *spec)
{
	return strncmp(spec, S3_SCHEME, strlen(S3_SCHEME)) == 0;
}

int source_open(const char *spec, struct aws *aws, bool create, struct source **ret,
		struct error *err)
{
	if (spec[0] == '\0')
		return error_set(err, -EINVAL, "the source's name is empty");
	if (source_spec_is_s3(spec))
		return s3_source_open(spec + strlen(S3_SCHEME), aws, ret, err);
	return directory_source_open(spec, create, ret, err);
}

void source_free(struct source *s)
{
	if (s)
		s->ops->free(s);
}

size_t source_preferred_size(const struct source *s)
{
	return s->ops->preferred_size;
}

char *source_describe(const struct source *s, const char *name)
{
	return s->ops->describe(s, name);
}

bool source_name_is_valid(const char *name)
{
	const char *part = name;

	if (strlen(name) > SOURCE_NAME_MAX)
		return false;
	for (;;) {
		size_t n = strcspn(part, "/");

		if (n == 0 || (n == 1 && part[0] == '.') || (n == 2 && memcmp(part, "..", 2) == 0))
			return false;
		if (part[n] == '\0')
			return true;
		part += n + 1;
	}
}

static int check_name(const char *name, struct error *err)
{
	if (source_name_is_valid(name))
		return 0;
	return error_set(err, -EINVAL,
			 "\"%s\" cannot name an object: it is empty, too long, absolute, or has an "
			 "empty, \".\" or \"..\" part",
			 name);
}

int source_listing_add(struct source_listing *l, const char *name, uint64_t size, int64_t mtime_ns,
		       const char *version)
{
	struct source_object *o;

	/* Room doubles whenever the count is a power of two. */
	if (l->count >= SOURCE_OBJECTS_MAX)
		return -E2BIG;
	if ((l->count & (l->count - 1)) == 0) {
		size_t room = l->count ? 2 * l->count : 1;

		o = reallocarray(l->objects, room, sizeof(*o));
		if (!o)
			return -ENOMEM;
		l->objects = o;
	}
	o = &l->objects[l->count];
	*o = (struct source_object){.name = strdup(name), .size = size, .mtime_ns = mtime_ns};
	if (!o->name)
		return -ENOMEM;
	(void)snprintf(o->version, sizeof(o->version), "%s", version);
	l->count++;
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	const struct source_object *x = a, *y = b;

	return strcmp(x->name, y->name);
}

int source_list(struct source *s, struct source_listing *ret, struct error *err)
{
	struct source_listing l = {0};
	int r = s->ops->list(s, &l, err);

	atomic_fetch_add(&s->answers, 1);
	if (r < 0) {
		_cleanup_free_ char *label = source_describe(s, "");

		source_listing_clear(&l);
		if (r == -E2BIG)
			error_set(err, r, "%s holds more than %zu objects", label ? label : "?",
				  SOURCE_OBJECTS_MAX);
		return r;
	}
	if (l.count > 1)
		qsort(l.objects, l.count, sizeof(*l.objects), compare_names);
	*ret = l;
	return 0;
}

void source_listing_clear(struct source_listing *l)
{
	for (size_t i = 0; i < l->count; i++)
		source_object_clear(&l->objects[i]);
	free(l->objects);
	*l = (struct source_listing){0};
}

void source_object_clear(struct source_object *o)
{
	free(o->name);
	*o = (struct source_object){0};
}

int source_stat(struct source *s, const char *name, struct source_object *ret, struct error *err)
{
	int r = check_name(name, err);

	if (r == 0)
		r = s->ops->stat(s, name, ret, err);
	atomic_fetch_add(&s->answers, 1);
	return r;
}

typedef int read_op(struct source *s, const char *name, const char *version, uint64_t offset,
		    size_t size, uint8_t *buf, struct error *err);

static int do_read(struct source *s, read_op *read, const char *name, const char *version,
		   uint64_t offset, size_t size, uint8_t *buf, struct error *err)
{
	int r = check_name(name, err);

	if (r < 0)
		return r;
	if (offset > INT64_MAX || size > INT64_MAX - offset)
		return error_set(err, -EINVAL, "%s: range beyond any object", name);
	r = read(s, name, version, offset, size, buf, err);
	atomic_fetch_add(&s->answers, 1);
	return r;
}

int source_read(struct source *s, const char *name, const char *version, uint64_t offset,
		size_t size, uint8_t *buf, struct error *err)
{
	return do_read(s, s->ops->read, name, version, offset, size, buf, err);
}

int source_read_fresh(struct source *s, const char *name, const char *version, uint64_t offset,
		      size_t size, uint8_t *buf, struct error *err)
{
	read_op *read = s->ops->read_fresh ? s->ops->read_fresh : s->ops->read;

	return do_read(s, read, name, version, offset, size, buf, err);
}

uint64_t source_answers(const struct source *s)
{
	return atomic_load(&s->answers);
}

int source_put(struct source *s, const char *name, const void *data, size_t size, struct error *err)
{
	int r = check_name(name, err);

	return r < 0 ? r : s->ops->put(s, name, data, size, err);
}

int source_remove(struct source *s, const char *name, struct error *err)
{
	int r = check_name(name, err);

	return r < 0 ? r : s->ops->remove(s, name, err);
}

int source_writer_new(struct source *s, const char *name, uint64_t size, size_t part_size,
		      struct source_writer **ret, struct error *err)
{
	struct source_writer *w = NULL;
	uint64_t count;
	int r = check_name(name, err);

	if (r < 0)
		return r;
	if (part_size == 0 || part_size % SEAL_EXTENT_SIZE != 0 || size > SEAL_LENGTH_MAX)
		return error_set(err, -EINVAL, "%s: %zu is no part size for %llu bytes", name,
				 part_size, (unsigned long long)size);
	count = (size + part_size - 1) / part_size;
	r = s->ops->writer_new(s, name, size, part_size, &w, err);
	if (r < 0)
		return r;
	w->size = size;
	w->part_size = part_size;
	w->part_count = count;
	w->done = calloc(count ? count : 1, sizeof(*w->done));
	w->label = source_describe(s, name);
	if (!w->done || !w->label) {
		source_writer_free(w);
		return -ENOMEM;
	}
	*ret = w;
	return 0;
}

int source_writer_part(struct source_writer *w, uint64_t part_index, const void *data, size_t size,
		       struct error *err)
{
	uint64_t left;
	int r;

	if (part_index >= w->part_count)
		return error_set(err, -EINVAL, "%s: there is no part %llu", w->label,
				 (unsigned long long)part_index);
	left = w->size - part_index * w->part_size;
	if (size != MIN(left, w->part_size))
		return error_set(err, -EINVAL, "%s: part %llu cannot have %zu bytes", w->label,
				 (unsigned long long)part_index, size);
	r = w->ops->part(w, part_index, data, size, err);
	if (r == 0)
		atomic_store(&w->done[part_index], true);
	return r;
}

int source_writer_commit(struct source_writer *w, struct error *err)
{
	for (uint64_t i = 0; i < w->part_count; i++)
		if (!atomic_load(&w->done[i]))
			return error_set(err, -EINVAL, "%s: part %llu was never written", w->label,
					 (unsigned long long)i);
	return w->ops->commit(w, err);
}

int source_writer_abort(struct source_writer *w, struct error *err)
{
	return w->ops->abort(w, err);
}

void source_writer_free(struct source_writer *w)
{
	if (!w)
		return;
	(void)w->ops->abort(w, NULL);
	free(w->done);
	free(w->label);
	w->ops->free(w);
}
