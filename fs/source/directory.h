/*
 * directory.h: sealed objects as files below one directory. Private to fs/source.
 *
 * Below the root no symbolic link is followed or listed, and only regular files count; the root
 * itself may be a link. Files named as temporary (directory_name_is_temporary) are invisible.
 */
#ifndef SEALEDFS_SOURCE_DIRECTORY_H
#define SEALEDFS_SOURCE_DIRECTORY_H

#include "fs/source/source_backend.h"

struct directory_source {
	struct source source;
	int root_fd;
	char *path; /* as the user gave it, without trailing '/' */
};

int directory_source_open(const char *path, bool create, struct source **ret, struct error *err);

/*
 * Opens the folder that holds `name` and points *ret_leaf at its last part. With create, missing
 * folders are made; *ret_created is their number. Returns a descriptor or a negative errno.
 */
int directory_open_parent(const struct directory_source *d, const char *name, bool create,
			  unsigned *ret_created, const char **ret_leaf);
/* ".sealedfs-<16 hex>.part": what an unfinished write is called. */
bool directory_name_is_temporary(const char *leaf);
/* Sets "cannot VERB DIR/name: reason" and returns code. */
int directory_error(const struct directory_source *d, const char *name, const char *verb, int code,
		    struct error *err);

/* directory_write.c */
int directory_put(struct source *s, const char *name, const char *version, const void *data,
		  size_t size, struct error *err);
int directory_remove(struct source *s, const char *name, struct error *err);
int directory_writer_new(struct source *s, const char *name, uint64_t size, size_t part_size,
			 struct source_writer **ret, struct error *err);

#endif
