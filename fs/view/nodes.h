/*
 * nodes.h: making and changing the nodes of a struct view, before it is numbered. For fs/view only.
 */
#ifndef SEALEDFS_VIEW_NODES_H
#define SEALEDFS_VIEW_NODES_H

#include "fs/view/view.h"

/* Takes bytes from the view's allowance until it is freed; -ENOBUFS. Threads: any. */
int view_take(struct view *v, size_t bytes);
/* What a file will take in a view, its entry and its seal's name included; *worst: how much more
 * if no other file is in its directories. */
size_t view_file_bytes(const char *seal_name, size_t *worst);

/* For the log and the report. At most 100 are kept, all others are counted. */
int view_note(struct view *v, const char *fmt, ...) _printf_(2, 3);

int view_make_root(struct view *v);
/* A last entry of dir, made of the first path_size bytes of path: the caller keeps the order. */
int view_append(struct view *v, struct view_node *dir, enum view_kind kind, const char *path,
		size_t path_size, struct view_node **ret);

/* The others find the place. -EEXIST: dir has an entry of this name. */
int view_add_directory(struct view *v, struct view_node *dir, const char *name,
		       struct view_node **ret);
/* Copies the bytes. */
int view_add_bytes(struct view *v, struct view_node *dir, const char *name, const void *data,
		   size_t size, int64_t mtime_ns);
int view_add_link(struct view *v, struct view_node *dir, const char *name, struct view_node *file);

/* The entry itself, to be changed; NULL: none. */
struct view_node *view_child(const struct view_node *dir, const char *name);

/*
 * view_build() with what was found out since: in `first` each directory hides the model of its
 * name, in `second` those models were preferred that hide broken ones only. NULL: there is none
 * yet.
 */
struct view_earlier {
	const struct view *first, *second;
};
int view_build_after(const struct source_listing *listing, const struct view_earlier *earlier,
		     struct view **ret, struct error *err);

/* Moves each "NAME.ollama" that lies beside a file NAME from the tree to that file, and adds up the
 * sizes of what stays. */
int view_pair_descriptions(struct view *v);

/* Calls examine for every file, in several threads. A failure of one file marks it as broken; one
 * of the source or of memory is the result. */
typedef int view_examine(void *arg, struct view_node *n, struct error *err);
int view_examine_all(struct view *v, view_examine *examine, void *arg, struct error *err);
/* Copies the facts that a seal states. */
int view_keep_facts(struct view *v, struct view_node *n, const struct seal_core *core);
/* view_read() of a set. */
int view_read_set(const struct view_options *options, struct view **ret, struct error *err);

#endif
