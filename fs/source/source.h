/*
 * source.h: where sealed objects lie: a directory or s3://bucket/prefix, read and (for sealctl)
 * written. Everything that passes here is ciphertext or public.
 *
 * Object names are relative to the source, with '/' between parts; never empty, absolute, with an
 * empty part, "." or "..". Threads: a source may be used by any number of threads.
 * Errors as s3.h; a directory gives -ENOENT, -EACCES, -ESTALE (file changed), -EIO likewise.
 */
#ifndef SEALEDFS_SOURCE_H
#define SEALEDFS_SOURCE_H

#include "fs/net/aws.h"

#define SOURCE_VERSION_MAX 128

struct source;
struct source_writer;

struct source_object {
	char *name;
	uint64_t size;
	int64_t mtime_ns;		  /* since 1970 */
	char version[SOURCE_VERSION_MAX]; /* ETag, or inode+size+mtime of a file: opaque */
};
struct source_listing {
	struct source_object *objects; /* bytewise order by name */
	size_t count;
};

/*
 * spec: a directory's path, or s3://bucket[/prefix[/]]. aws is used (and must outlive the source)
 * only for s3; may be NULL for a directory (-EINVAL otherwise). A directory must exist unless
 * create.
 */
int source_open(const char *spec, struct aws *aws, bool create, struct source **ret,
		struct error *err);
void source_free(struct source *s);
bool source_spec_is_s3(const char *spec);
/* How messages call an object: "DIR/name" or "s3://bucket/prefix/name". malloc()ed. */
char *source_describe(const struct source *s, const char *name);

int source_list(struct source *s, struct source_listing *ret, struct error *err);
void source_listing_clear(struct source_listing *l);
int source_stat(struct source *s, const char *name, struct source_object *ret, struct error *err);
void source_object_clear(struct source_object *o);
/*
 * Exactly size bytes at offset. version: as listed or stat()ed; NULL: any. -ESTALE when the object
 * is no longer that version; -ENODATA when it ends too early. Blocks; keeps to the deadline.
 */
int source_read(struct source *s, const char *name, const char *version, uint64_t offset,
		size_t size, uint8_t *buf, struct error *err);
/*
 * The same, when what source_read() gave turned out to be bad: from the origin, past any copy that
 * a staged source keeps; such a copy is compared and mended.
 */
int source_read_fresh(struct source *s, const char *name, const char *version, uint64_t offset,
		      size_t size, uint8_t *buf, struct error *err);
/* How often list, stat and read have come back, well or badly: it only grows while somebody asks
 * and gets an answer. */
uint64_t source_answers(const struct source *s);
/* Bytes that are worth asking for at once: SEAL_EXTENT_SIZE for S3, SEAL_CHUNK_SIZE for a
 * directory. */
size_t source_preferred_size(const struct source *s);

/* A small object, whole or not at all, replacing what was there. */
int source_put(struct source *s, const char *name, const void *data, size_t size,
	       struct error *err);
int source_remove(struct source *s, const char *name, struct error *err);

/*
 * A big object in parts. Parts are numbered from 0; every part but the last has part_size bytes (a
 * multiple of SEAL_EXTENT_SIZE). Invisible until source_writer_commit(); source_writer_free()
 * without a commit aborts and removes every trace. Parts may be written by several threads in any
 * order.
 */
int source_writer_new(struct source *s, const char *name, uint64_t size, size_t part_size,
		      struct source_writer **ret, struct error *err);
int source_writer_part(struct source_writer *w, uint64_t part_index, const void *data, size_t size,
		       struct error *err);
int source_writer_commit(struct source_writer *w, struct error *err);
/*
 * What source_writer_free() does without a commit, for callers that want to know when it failed
 * (S3 goes on charging for an upload that could not be aborted). No part may be under way.
 */
int source_writer_abort(struct source_writer *w, struct error *err);
void source_writer_free(struct source_writer *w);

DEFINE_CLEANUP(struct source *, source_free)
DEFINE_CLEANUP(struct source_writer *, source_writer_free)

#endif
