/*
 * From a listing to a tree. Job: directories and files in order, with names that a kernel can
 * take. Trusts no name: keys in a bucket are whatever somebody put there. What cannot be shown is
 * left out, with a note; it never breaks the rest.
 */
#include "crypto/name.h"
#include "fs/view/nodes.h"

#include <errno.h>
#include <string.h>

#define SUFFIX_SIZE (sizeof(SEAL_SUFFIX) - 1)

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

	name_printable(path, printable);
	return view_note(v, "\"%s\" is not shown: %s", printable, why);
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

static bool is_reserved(const char *path)
{
	size_t n = strlen(VIEW_CONTROL_NAME);

	return strncmp(path, VIEW_CONTROL_NAME, n) == 0 && (path[n] == '\0' || path[n] == '/');
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
		if (!why && is_reserved(path))
			why = "the mount has its control directory of this name";
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

static int add_file(struct view *v, struct view_node *dir, const struct entry *e)
{
	struct view_node *n;
	int r = view_append(v, dir, VIEW_FILE, e->path, strlen(e->path), &n);

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
			r = view_append(v, dir, VIEW_DIRECTORY, e[i].path, at + n, &child);
			if (r < 0)
				return r;
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
	if (!v->files)
		return -ENOMEM;
	r = view_make_root(v);
	if (r < 0)
		return r;
	r = fill_directory(v, v->root, e.items, e.count, 0);
	if (r < 0)
		return r;
	*ret = steal_ptr(v);
	return 0;
}
