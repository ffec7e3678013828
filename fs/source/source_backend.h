/*
 * source_backend.h: what a kind of source implements. object.c checks names, ranges and part
 * numbers before it calls; a backend only talks to its storage. For backends, fs/stage and tests.
 *
 * A backend embeds struct source (or struct source_writer) as its first member.
 */
#ifndef SEALEDFS_SOURCE_BACKEND_H
#define SEALEDFS_SOURCE_BACKEND_H

#include "crypto/format.h"
#include "fs/source/source.h"

#include <stdatomic.h>
#include <stdbool.h>

/* S3's limit on a key, and ours on a name below the source's root; bytes. */
#define SOURCE_NAME_MAX 1024
/* More objects than this in one source are refused rather than held in memory. */
#define SOURCE_OBJECTS_MAX ((size_t)1000000)

struct source_ops {
	size_t preferred_size;
	void (*free)(struct source *s);
	char *(*describe)(const struct source *s, const char *name);
	/* In any order, by source_listing_add(); listing.c sorts, and clears *ret on failure. */
	int (*list)(struct source *s, struct source_listing *ret, struct error *err);
	/* As source_nearby(); may be NULL. */
	char *(*nearby)(struct source *s);
	int (*stat)(struct source *s, const char *name, struct source_object *ret,
		    struct error *err);
	int (*read)(struct source *s, const char *name, const char *version, uint64_t offset,
		    size_t size, uint8_t *buf, struct error *err);
	/* NULL: the same as read. */
	int (*read_fresh)(struct source *s, const char *name, const char *version, uint64_t offset,
			  size_t size, uint8_t *buf, struct error *err);
	int (*put)(struct source *s, const char *name, const char *version, const void *data,
		   size_t size, struct error *err);
	int (*remove)(struct source *s, const char *name, struct error *err);
	int (*writer_new)(struct source *s, const char *name, uint64_t size, size_t part_size,
			  struct source_writer **ret, struct error *err);
};

struct source {
	const struct source_ops *ops;
	atomic_ullong answers; /* source_answers(); object.c and listing.c count */
};

struct source_writer_ops {
	int (*part)(struct source_writer *w, uint64_t part_index, const void *data, size_t size,
		    struct error *err);
	int (*commit)(struct source_writer *w, struct error *err);
	/* Removes every trace unless commit succeeded; may be called twice. */
	int (*abort)(struct source_writer *w, struct error *err);
	void (*free)(struct source_writer *w); /* abort was called before */
};

/* object.c fills everything but ops after writer_new returned. */
struct source_writer {
	const struct source_writer_ops *ops;
	uint64_t size;
	size_t part_size;
	uint64_t part_count; /* 0 for an empty object */
	atomic_bool *done;   /* part_count flags */
	char *label;	     /* for messages */
};

/* Appends to a listing being built; copies name and version. -ENOMEM, -E2BIG. */
int source_listing_add(struct source_listing *l, const char *name, uint64_t size, int64_t mtime_ns,
		       const char *version);
/* Remembers a name that cannot be used, if it is a seal's; others are ignored. -ENOMEM. */
int source_listing_skip(struct source_listing *l, const char *name, const char *why);
/* NULL: the name can be used; else the problem. */
const char *source_name_problem(const char *name);

#endif
