/* A source in memory: see memory_source.h. */
#include "tests/unit/fs/read/memory_source.h"

#include <errno.h>
#include <string.h>

static struct memory_object *find(struct memory_source *m, const char *name)
{
	for (size_t i = 0; i < m->count; i++)
		if (strcmp(m->objects[i].name, name) == 0)
			return &m->objects[i];
	return NULL;
}

static void memory_free(struct source *s)
{
}

static char *memory_describe(const struct source *s, const char *name)
{
	char *text;

	return asprintf(&text, "memory/%s", name) < 0 ? NULL : text;
}

static int memory_list(struct source *s, struct source_listing *ret, struct error *err)
{
	struct memory_source *m = (struct memory_source *)s;
	int r = 0;

	for (size_t i = 0; r == 0 && i < m->count; i++)
		r = source_listing_add(ret, m->objects[i].name, m->objects[i].size,
				       m->objects[i].mtime_ns, m->objects[i].version);
	return r;
}

static int memory_stat(struct source *s, const char *name, struct source_object *ret,
		       struct error *err)
{
	struct memory_object *o = find((struct memory_source *)s, name);

	if (!o)
		return error_set(err, -ENOENT, "memory/%s: not there", name);
	return source_object_make(ret, name, o->version, o->size, o->mtime_ns);
}

static int copy_range(const struct memory_object *o, const char *version, uint64_t offset,
		      size_t size, uint8_t *buf)
{
	if (!o)
		return -ENOENT;
	if (version && strcmp(version, o->version) != 0)
		return -ESTALE;
	if (offset > o->size || size > o->size - offset)
		return -ENODATA;
	memcpy(buf, o->data + offset, size);
	return 0;
}

static void note_start(struct memory_source *m, uint64_t offset, size_t size)
{
	atomic_fetch_add(&m->reads, 1);
	for (uint64_t c = offset / SEAL_CHUNK_SIZE;
	     c < MEMORY_CHUNKS_MAX && c * SEAL_CHUNK_SIZE < offset + size; c++)
		atomic_fetch_add(&m->chunk_reads[c], 1);
}

static int memory_read(struct source *s, const char *name, const char *version, uint64_t offset,
		       size_t size, uint8_t *buf, struct error *err)
{
	struct memory_source *m = (struct memory_source *)s;
	int r = copy_range(find(m, name), version, offset, size, buf);

	note_start(m, offset, size);
	if (r == 0 && m->hook)
		r = m->hook(m->hook_arg, name, offset, size, buf, err);
	if (r < 0)
		error_set(err, r, "memory/%s: %s", name, strerror(-r));
	return r;
}

static const struct source_ops chunk_ops = {
	.preferred_size = SEAL_CHUNK_SIZE,
	.free = memory_free,
	.describe = memory_describe,
	.list = memory_list,
	.stat = memory_stat,
	.read = memory_read,
};

static const struct source_ops extent_ops = {
	.preferred_size = SEAL_EXTENT_SIZE,
	.free = memory_free,
	.describe = memory_describe,
	.list = memory_list,
	.stat = memory_stat,
	.read = memory_read,
};

void memory_source_init(struct memory_source *m, bool by_extents)
{
	memset(m, 0, sizeof(*m));
	m->source.ops = by_extents ? &extent_ops : &chunk_ops;
}

struct memory_object *memory_source_add(struct memory_source *m, const char *name, void *data,
					uint64_t size, const char *version)
{
	struct memory_object *o = &m->objects[m->count++];

	if (m->count > MEMORY_OBJECTS_MAX)
		abort();
	*o = (struct memory_object){name, data, size, version, 1234567890123456789};
	return o;
}
