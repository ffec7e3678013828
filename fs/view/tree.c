/*
 * From a listing to a tree. Job: directories and files in order, with names that a kernel can
 * take. Trusts no name: keys in a bucket can be anything. An object that cannot be
 * shown is left out with a note and does not affect the others.
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

	v->hidden_count++;
	name_printable(path, printable);
	return view_note(v, "\"%s\" is not shown: %s", printable, why);
}

/* NULL: fit to be shown. A directory's name has to keep the rules of a model's. */
static const char *path_problem(const char *path)
{
	const char *problem = model_path_problem(path, strlen(path));
	unsigned depth = 0;

	for (const char *p = path; *p; p++)
		depth += *p == '/';
	return !problem && depth >= VIEW_DEPTH_MAX ? "more than 64 directories deep" : problem;
}

int view_compare_paths(const char *a, const char *b)
{
	const unsigned char *x = (const unsigned char *)a, *y = (const unsigned char *)b;

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

static int compare_entries(const void *a, const void *b)
{
	return view_compare_paths(((const struct entry *)a)->path, ((const struct entry *)b)->path);
}

/* Seals whose names the source itself refused. */
static int note_skipped(struct view *v, const struct source_listing *listing)
{
	size_t kept = source_listing_skipped_kept(listing);

	for (size_t i = 0; i < kept; i++) {
		int r = add_note(v, listing->skipped[i].name, listing->skipped[i].why);

		if (r < 0)
			return r;
	}
	v->hidden_count += listing->skipped_count - kept;
	v->more_notes += listing->skipped_count - kept;
	return 0;
}

static int collect_entries(struct view *v, const struct source_listing *listing, struct entries *e)
{
	size_t seals = 0;
	int r = note_skipped(v, listing);

	if (r < 0)
		return r;
	for (size_t i = 0; i < listing->count; i++)
		seals += name_is_seal(listing->objects[i].name);
	e->items = calloc(seals + 1, sizeof(*e->items));
	if (!e->items)
		return -ENOMEM;
	for (size_t i = 0; i < listing->count; i++) {
		const struct source_object *o = &listing->objects[i];
		size_t size = strlen(o->name);
		const char *why;
		char *path;

		if (!name_is_seal(o->name))
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
	qsort(e->items, e->count, sizeof(*e->items), compare_entries);
	return 0;
}

static int add_file(struct view *v, struct view_node *dir, const struct entry *e)
{
	struct view_node *n;
	int r = view_append(v, dir, VIEW_FILE, e->path, strlen(e->path), &n);

	if (r < 0)
		return r;
	r = source_object_make(&n->seal, e->object->name, e->object->version, e->object->size,
			       e->object->mtime_ns);
	if (r < 0)
		return r;
	n->mtime_ns = e->object->mtime_ns;
	n->file_index = v->file_count;
	v->files[v->file_count++] = n;
	return 0;
}

static const struct view_node *find(const struct view *v, const char *path)
{
	_cleanup_free_ char *copy = strdup(path);
	const struct view_node *n = v->root;
	char *rest = copy, *part;

	while (n && n->kind == VIEW_DIRECTORY && (part = strsep(&rest, "/")))
		n = view_lookup(n, part);
	return copy ? n : NULL;
}

static bool all_broken(const struct view_node *n)
{
	if (n->kind == VIEW_FILE)
		return n->broken != NULL;
	for (size_t i = 0; i < n->child_count; i++)
		if (!all_broken(n->children[i].node))
			return false;
	return true;
}

/* Of a model and a directory with one name the directory is shown, unless the earlier views showed
 * that no model in it can be opened, and that this one can. */
static bool file_wins(const struct view_earlier *earlier, const char *path)
{
	const struct view_node *directory = earlier->first ? find(earlier->first, path) : NULL;
	const struct view_node *file = earlier->second ? find(earlier->second, path) : NULL;

	return directory && all_broken(directory) && (!file || !all_broken(file));
}

/* A model and a directory of one name; count: the model and what is in the directory. */
static int settle(struct view *v, struct view_node *dir, const struct entry *e, size_t count,
		  const struct view_earlier *earlier, bool *ret_file)
{
	int r;

	v->clashes = true;
	*ret_file = file_wins(earlier, e->path);
	if (!*ret_file)
		return add_note(v, e->object->name, "there is also a directory of this name");
	r = add_file(v, dir, e);
	for (size_t i = 1; r == 0 && i < count; i++)
		r = add_note(v, e[i].object->name, "there is also a model of its directory's name");
	return r;
}

/* e: sorted entries below dir, whose own path takes the first `at` bytes of each. */
static int fill_directory(struct view *v, struct view_node *dir, const struct entry *e,
			  size_t count, size_t at, const struct view_earlier *earlier)
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
			r = fill_directory(v, child, e + i, end - i, at + n + 1, earlier);
			dir->mtime_ns = MAX(dir->mtime_ns, child->mtime_ns);
		} else if (end < count && strncmp(e[end].path + at, part, n) == 0 &&
			   e[end].path[at + n] == '/') {
			bool file;

			while (end < count && strncmp(e[end].path + at, part, n) == 0 &&
			       e[end].path[at + n] == '/')
				end++;
			r = settle(v, dir, e + i, end - i, earlier, &file);
			if (!file)
				end = i + 1;
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
	return view_build_after(listing, &(struct view_earlier){0}, ret, err);
}

int view_build_after(const struct source_listing *listing, const struct view_earlier *earlier,
		     struct view **ret, struct error *err)
{
	_cleanup_(view_freep) struct view *v = calloc(1, sizeof(*v));
	_cleanup_(entries_clear) struct entries e = {0};
	int r;

	if (!v)
		return -ENOMEM;
	v->allowance = listing->room.allowance;
	r = collect_entries(v, listing, &e);
	if (r < 0)
		return r;
	v->files = calloc(e.count ? e.count : 1, sizeof(struct view_node *));
	if (!v->files)
		return -ENOMEM;
	r = view_make_root(v);
	if (r < 0)
		return r;
	r = fill_directory(v, v->root, e.items, e.count, 0, earlier);
	if (r < 0)
		return r;
	*ret = steal_ptr(v);
	return 0;
}
