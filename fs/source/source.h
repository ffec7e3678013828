/*
 * source.h: the place of sealed objects: a directory or s3://bucket/prefix, read and (for sealctl)
 * written. Everything that passes here is ciphertext or public.
 *
 * Object names are relative to the source, with '/' between parts; never empty, absolute, with an
 * empty part, "." or "..". Threads: a source may be used by any number of threads.
 * Errors as s3.h; a directory gives -ENOENT, -EACCES, -ESTALE (file changed), -EIO likewise.
 */
#ifndef SEALEDFS_SOURCE_H
#define SEALEDFS_SOURCE_H

#include "crypto/base/allowance.h"
#include "fs/aws/aws.h"

#define SOURCE_VERSION_MAX 128

struct source;
struct source_writer;

struct source_object {
	char *name;	     /* one block with the version */
	const char *version; /* ETag, or inode+size+mtime of a file: opaque */
	uint64_t size;
	int64_t mtime_ns; /* since 1970 */
};
/* How much memory a listing may take, and what its reader will allocate for each object besides. */
struct source_room {
	struct allowance *allowance; /* NULL: no limit */
	/* Bytes that the reader needs for an object of this name; *worst: how many more it may
	 * need, for the message only. May be NULL. */
	size_t (*more)(void *arg, const char *name, size_t *worst);
	void *arg;
};
/* A seal whose name or type cannot be used. */
struct source_skipped {
	char *name;	 /* relative to the source; any bytes */
	const char *why; /* static text */
};
#define SOURCE_SKIPPED_MAX 100
struct source_listing {
	struct source_object *objects; /* bytewise order by name */
	size_t count;
	struct source_skipped *skipped; /* the first SOURCE_SKIPPED_MAX */
	size_t skipped_count;		/* all */
	/* The rest belongs to listing.c, except `more`. */
	struct source_room room;
	size_t taken; /* bytes of the allowance, for the listing itself */
	size_t more;  /* and for its reader, which may take them over and set this to 0 */
	size_t seen, seen_bytes, worst_bytes;
	bool refused; /* the allowance is used up: objects are counted but not kept */
};
/* How many of them are kept. */
size_t source_listing_skipped_kept(const struct source_listing *l);

/*
 * spec: a directory's path, or s3://bucket[/prefix[/]]. aws is used (and must outlive the source)
 * only for s3; may be NULL for a directory (-EINVAL otherwise). A directory must exist unless
 * create.
 */
int source_open(const char *spec, struct aws *aws, bool create, struct source **ret,
		struct error *err);
void source_free(struct source *s);
bool source_spec_is_s3(const char *spec);
/* -EINVAL: spec looks like a URL of an unknown kind. Taken as a path it would become a local folder
 * that looks like an upload. */
int source_check_spec(const char *spec, struct error *err);
/* For a source without a model: what it holds instead, or what is near it, as a clause for a
 * message; malloc()ed. NULL: nothing is known. Sends requests to the source. */
char *source_nearby(struct source *s);
/* The name of an object in messages: "DIR/name" or "s3://bucket/prefix/name". malloc()ed. */
char *source_describe(const struct source *s, const char *name);

/*
 * room: NULL: only the number of objects is limited. -ENOBUFS: the allowance does not suffice; the
 * message has the number of objects and the memory that they need.
 */
int source_list(struct source *s, const struct source_room *room, struct source_listing *ret,
		struct error *err);
void source_listing_clear(struct source_listing *l);
/* What the listing and its reader need at most, for a message after -ENOBUFS. */
size_t source_listing_worst(const struct source_listing *l);
int source_stat(struct source *s, const char *name, struct source_object *ret, struct error *err);
/* Copies the strings; a version is cut after SOURCE_VERSION_MAX - 1 bytes. -ENOMEM. */
int source_object_make(struct source_object *o, const char *name, const char *version,
		       uint64_t size, int64_t mtime_ns);
void source_object_clear(struct source_object *o);
/*
 * Exactly size bytes at offset. version: as listed or stat()ed; NULL: any. -ESTALE when the object
 * is no longer that version; -ENODATA when it ends too early. Blocks; keeps to the deadline.
 */
int source_read(struct source *s, const char *name, const char *version, uint64_t offset,
		size_t size, uint8_t *buf, struct error *err);
/*
 * The same, after what source_read() returned turned out to be bad: from the origin, past any copy
 * that a staged source keeps. A copy that differs is dropped.
 */
int source_read_fresh(struct source *s, const char *name, const char *version, uint64_t offset,
		      size_t size, uint8_t *buf, struct error *err);
/* How many calls of list, stat and read have returned, with success or an error: a sign of life. */
uint64_t source_answers(const struct source *s);
/* A good size for one read: SEAL_EXTENT_SIZE for S3, SEAL_CHUNK_SIZE for a
 * directory. */
size_t source_preferred_size(const struct source *s);

/* Writes a small object atomically, replacing an existing one. */
int source_put(struct source *s, const char *name, const void *data, size_t size,
	       struct error *err);
/*
 * The same, on condition that the object still is the version that was listed or found; "": that
 * there is none. -EEXIST or -ESTALE: it is not so, or another writer came first. In a directory all
 * writers must use this function; on S3 it is If-Match and If-None-Match.
 */
int source_put_if(struct source *s, const char *name, const char *version, const void *data,
		  size_t size, struct error *err);
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
 * What source_writer_free() does without a commit, for callers that need its error: S3 goes on
 * charging for an upload that could not be aborted. No source_writer_part() may be running.
 */
int source_writer_abort(struct source_writer *w, struct error *err);
void source_writer_free(struct source_writer *w);

DEFINE_CLEANUP(struct source *, source_free)
DEFINE_CLEANUP(struct source_writer *, source_writer_free)

#endif
