/*
 * From a listing to a tree. Job: directories and files in order, with names that a kernel can
 * take. Trusts no name: keys in a bucket are whatever somebody put there. What cannot be shown is
 * left out, with a note; it never breaks the rest.
 */
#include "crypto/name.h"
#include "fs/view/view.h"

#include <errno.h>
#include <string.h>

#define SUFFIX_SIZE (sizeof(SEAL_SUFFIX) - 1)
#define NOTES_MAX 100

struct entry {
	char *path; /* without ".seal" */
	const struct source_object *object;
};

struct entries {
	struct entry *items;
	size_t count;
};

static void entries_clear(struct entries *e)
{
	for (size_t i = 0; i < e->count; i++)
		free(e->items[i].path);
	free(e->items);
}

static int add_note(struct view *v, const char *path, const char *why)
{
	char printable[NAME_PRINTABLE_SIZE];
	char **notes;

	if (v->note_count >= NOTES_MAX)
		return 0;
	notes = reallocarray(v->notes, v->note_count + 1, sizeof(*notes));
	if (!notes)
		return -ENOMEM;
	v->notes = notes;
	name_printable(path, printable);
	if (asprintf(&notes[v->note_count], "\"%s\" is not shown: %s", printable, why) < 0)
		return -ENOMEM;
	v->note_count++;
	return 0;
}

/* NULL: fit to be shown. A directory's name has to keep the rules of a model's. */
static const char *path_problem(const char *path)
{
	unsigned depth = 0;

	for (const char *part = path;; part++) {
		size_t n = strcspn(part, "/");
		const char *problem = name_problem(part, n);

		if (problem)
			return problem;
		if (++depth > VIEW_DEPTH_MAX)
			return "more than 64 directories deep";
		part += n;
		if (!*part)
			return NULL;
	}
}

/* Orders a directory's entries together, and a file before a directory of the same name. */
static int compare_paths(const void *a, const void *b)
{
	const unsigned char *x = (const unsigned char *)((const struct entry *)a)->path;
	const unsigned char *y = (const unsigned char *)((const struct entry *)b)->path;

	while (*x && *x == *y) {
		x++;
		y++;
	}
	if (*x == *y || !*x || !*y)
		return *x - *y;
	if (*x == '/' || *y == '/')
		return *x == '/' ? -1 : 1;
	return *x - *y;
}

static int collect_entries(struct view *v, const struct source_listing *listing, struct entries *e)
{
	e->items = calloc(listing->count ? listing->count : 1, sizeof(*e->items));
	if (!e->items)
		return -ENOMEM;
	for (size_t i = 0; i < listing->count; i++) {
		const struct source_object *o = &listing->objects[i];
		size_t size = strlen(o->name);
		const char *why;
		char *path;
		int r = 0;

		if (size <= SUFFIX_SIZE ||
		    memcmp(o->name + size - SUFFIX_SIZE, SEAL_SUFFIX, SUFFIX_SIZE) != 0 ||
		    o->name[size - SUFFIX_SIZE - 1] == '/')
			continue;
		path = strndup(o->name, size - SUFFIX_SIZE);
		if (!path)
			return -ENOMEM;
		why = path_problem(path);
		if (why) {
			r = add_note(v, o->name, why);
			free(path);
		} else {
			e->items[e->count++] = (struct entry){path, o};
		}
		if (r < 0)
			return r;
	}
	qsort(e->items, e->count, sizeof(*e->items), compare_paths);
	return 0;
}

static void node_free(struct view_node *n)
{
	if (!n)
		return;
	for (size_t i = 0; i < n->child_count; i++)
		node_free(n->children[i]);
	free(n->children);
	free(n->path);
	source_object_clear(&n->seal);
	free(n->broken);
	free(n);
}

/* path_size bytes of path are the node's. */
static struct view_node *node_new(struct view_node *parent, enum view_kind kind, const char *path,
				  size_t path_size)
{
	struct view_node *n = calloc(1, sizeof(*n));
	const char *slash;

	if (!n)
		return NULL;
	n->kind = kind;
	n->path = strndup(path, path_size);
	n->parent = parent ? parent : n;
	if (!n->path) {
		free(n);
		return NULL;
	}
	slash = strrchr(n->path, '/');
	n->name = slash ? slash + 1 : n->path;
	return n;
}

static int add_child(struct view *v, struct view_node *dir, enum view_kind kind,
		     const struct entry *e, size_t path_size, struct view_node **ret)
{
	struct view_node *n = node_new(dir, kind, e->path, path_size);

	if (!n)
		return -ENOMEM;
	/* Room doubles whenever the count is a power of two. */
	if ((dir->child_count & (dir->child_count - 1)) == 0) {
		size_t room = dir->child_count ? 2 * dir->child_count : 1;
		struct view_node **children =
			reallocarray(dir->children, room, sizeof(struct view_node *));

		if (!children) {
			node_free(n);
			return -ENOMEM;
		}
		dir->children = children;
	}
	dir->children[dir->child_count++] = n;
	v->node_count++;
	*ret = n;
	return 0;
}

static int add_file(struct view *v, struct view_node *dir, const struct entry *e)
{
	struct view_node *n;
	int r = add_child(v, dir, VIEW_FILE, e, strlen(e->path), &n);

	if (r < 0)
		return r;
	n->seal = *e->object;
	n->seal.name = strdup(e->object->name);
	if (!n->seal.name)
		return -ENOMEM;
	n->mtime_ns = e->object->mtime_ns;
	n->file_index = v->file_count;
	v->files[v->file_count++] = n;
	return 0;
}

/* e: sorted entries below dir, whose own path takes the first `at` bytes of each. */
static int fill_directory(struct view *v, struct view_node *dir, const struct entry *e,
			  size_t count, size_t at)
{
	int r = 0;

	for (size_t i = 0; i < count && r == 0;) {
		const char *part = e[i].path + at;
		size_t n = strcspn(part, "/"), end = i + 1;
		struct view_node *child;

		if (part[n] == '/') {
			while (end < count && strncmp(e[end].path + at, part, n + 1) == 0)
				end++;
			r = add_child(v, dir, VIEW_DIRECTORY, &e[i], at + n, &child);
			if (r < 0)
				return r;
			v->directory_count++;
			dir->subdirectory_count++;
			r = fill_directory(v, child, e + i, end - i, at + n + 1);
			dir->mtime_ns = MAX(dir->mtime_ns, child->mtime_ns);
		} else if (end < count && strncmp(e[end].path + at, part, n) == 0 &&
			   e[end].path[at + n] == '/') {
			r = add_note(v, e[i].object->name,
				     "there is also a directory of this name");
		} else {
			r = add_file(v, dir, &e[i]);
			dir->mtime_ns = MAX(dir->mtime_ns, e[i].object->mtime_ns);
		}
		i = end;
	}
	return r;
}

int view_build(const struct source_listing *listing, struct view **ret, struct error *err)
{
	_cleanup_(view_freep) struct view *v = calloc(1, sizeof(*v));
	_cleanup_(entries_clear) struct entries e = {0};
	int r;

	if (!v)
		return -ENOMEM;
	r = collect_entries(v, listing, &e);
	if (r < 0)
		return r;
	v->files = calloc(e.count ? e.count : 1, sizeof(struct view_node *));
	v->root = node_new(NULL, VIEW_DIRECTORY, "", 0);
	if (!v->files || !v->root)
		return -ENOMEM;
	v->node_count = v->directory_count = 1;
	r = fill_directory(v, v->root, e.items, e.count, 0);
	if (r < 0)
		return r;
	*ret = steal_ptr(v);
	return 0;
}

void view_free(struct view *v)
{
	if (!v)
		return;
	node_free(v->root);
	for (size_t i = 0; i < v->note_count; i++)
		free(v->notes[i]);
	free(v->notes);
	free(v->files);
	free(v->by_ino);
	free(v);
}

static int compare_name(const void *key, const void *item)
{
	return strcmp(key, (*(struct view_node *const *)item)->name);
}

const struct view_node *view_lookup(const struct view_node *dir, const char *name)
{
	struct view_node **found = NULL;

	if (dir->child_count > 0)
		found = bsearch(name, dir->children, dir->child_count, sizeof(struct view_node *),
				compare_name);
	return found ? *found : NULL;
}
