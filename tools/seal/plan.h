/*
 * plan.h: which files are sealed under which names, decided before any work.
 */
#ifndef SEALEDFS_TOOLS_PLAN_H
#define SEALEDFS_TOOLS_PLAN_H

#include "crypto/base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct plan_entry {
	char *path; /* "-": standard input */
	char *name; /* in the destination */
};

struct plan {
	struct plan_entry *entries; /* bytewise order by name within each source */
	size_t count, room;
	bool follow;   /* links that lead out of a directory are followed */
	bool checkout; /* directories are checkouts: links into Hugging Face's cache beside them are
			  followed, .git and .cache in their root are left out */
	size_t name_max; /* bytes of a name's last part; 0: the format's limit */
};

/*
 * A file becomes NAME (its own, or `name` if that is not NULL); a directory's files become their
 * paths relative to it. In a directory: hidden files count; a symbolic link to a file is followed
 * when that lies inside the directory (or with follow), else refused; links to directories and
 * special files are skipped with a warning. -EINVAL: no name, a bad name, a seal or payload, a link
 * that leads out, a pointer of git-LFS.
 */
int plan_add(struct plan *plan, const char *source, const char *name, struct error *err);
/* One file that only its reader looks at. Takes copies. -EINVAL: a bad name. */
int plan_add_entry(struct plan *plan, const char *path, const char *name, struct error *err);
/* After the last source: -EINVAL when two files would get one name, or one needs a directory where
 * another is a file. Warns about shards that were left out. */
int plan_finish(struct plan *plan, struct error *err);
void plan_clear(struct plan *plan);

/* -EINVAL: a mount of a place above dest would not show what is sealed there. */
int plan_check_destination(const char *dest, struct error *err);

#endif
