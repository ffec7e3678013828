/*
 * One object: stat, read, write, remove. Job: reject names that could leave the source's root, and
 * keep the rules that all writers share (part sizes, every part present before a commit). Trusts
 * the backends to move bytes; trusts no name, because names come from listings that others
 * control. Must never see plaintext or a key.
 */
#include "fs/source/source_backend.h"

#include <errno.h>
#include <string.h>

const char *source_name_problem(const char *name)
{
	if (name[0] == '\0')
		return "it is empty";
	if (name[0] == '/')
		return "it begins with /";
	if (strlen(name) > SOURCE_NAME_MAX)
		return "it is longer than 1024 bytes";
	for (const char *part = name;; part++) {
		size_t n = strcspn(part, "/");

		if (n == 0)
			return "it has an empty part: //, or a / at its end";
		if ((n == 1 && part[0] == '.') || (n == 2 && memcmp(part, "..", 2) == 0))
			return "it has a part that is . or ..";
		part += n;
		if (*part == '\0')
			return NULL;
	}
}

static int check_name(const char *name, struct error *err)
{
	const char *problem = source_name_problem(name);

	return problem ? error_set(err, -EINVAL, "\"%s\" cannot name an object: %s", name, problem)
		       : 0;
}

int source_object_make(struct source_object *o, const char *name, const char *version,
		       uint64_t size, int64_t mtime_ns)
{
	size_t name_size = strlen(name) + 1,
	       version_size = strnlen(version, SOURCE_VERSION_MAX - 1);
	char *block = malloc(name_size + version_size + 1);

	if (!block)
		return -ENOMEM;
	memcpy(block, name, name_size);
	memcpy(block + name_size, version, version_size);
	block[name_size + version_size] = '\0';
	*o = (struct source_object){block, block + name_size, size, mtime_ns};
	return 0;
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

	return r < 0 ? r : s->ops->put(s, name, NULL, data, size, err);
}

int source_put_if(struct source *s, const char *name, const char *version, const void *data,
		  size_t size, struct error *err)
{
	int r = check_name(name, err);

	return r < 0 ? r : s->ops->put(s, name, version, data, size, err);
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
