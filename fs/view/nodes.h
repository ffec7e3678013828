/*
 * nodes.h: making and changing the nodes of a struct view, before it is numbered. For fs/view only.
 */
#ifndef SEALEDFS_VIEW_NODES_H
#define SEALEDFS_VIEW_NODES_H

#include "fs/view/view.h"

/* For the log; at most 100 are kept. Names in it are printable already. */
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
int view_add_link(struct view_node *dir, const char *name, struct view_node *file);

/* The entry itself, to be changed; NULL: none. */
struct view_node *view_child(const struct view_node *dir, const char *name);

/* Moves each "NAME.ollama" that lies beside a file NAME from the tree to that file. */
int view_pair_descriptions(struct view *v);

#endif
