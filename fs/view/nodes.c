/*
 * Nodes and entries. Job: keep a tree sound while it is made: order of names, counts,
 * ownership. Trusts its callers for names that may be shown.
 */
#include "fs/view/nodes.h"

#include "crypto/base/digest.h"
#include "fs/formats/ollama_description.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define NOTES_MAX 100

/* A place among a directory's children may be there twice while their room grows; by_ino. */
#define ENTRY_BYTES (3 * sizeof(struct view_entry) + sizeof(struct view_node *))

int view_take(struct view *v, size_t bytes)
{
	int r = allowance_take(v->allowance, bytes);

	if (r == 0)
		atomic_fetch_add(&v->taken, bytes);
	return r;
}

static size_t node_bytes(size_t path_size)
{
	return sizeof(struct view_node) + path_size + 1 + 2 * ALLOWANCE_OVERHEAD + ENTRY_BYTES;
}

size_t view_file_bytes(const char *seal_name, size_t *worst)
{
	size_t size = strlen(seal_name);

	*worst = 0;
	for (size_t i = 0; i < size; i++)
		if (seal_name[i] == '/')
			*worst += node_bytes(i);
	/* Twice: while the tree is made there is a list of paths. */
	return node_bytes(size) + 2 * (size + 1 + ALLOWANCE_OVERHEAD) + SOURCE_VERSION_MAX / 2 +
	       sizeof(struct view_node *);
}

int view_note(struct view *v, const char *fmt, ...)
{
	char **notes;
	va_list ap;
	int r;

	if (v->note_count >= NOTES_MAX) {
		v->more_notes++;
		return 0;
	}
	notes = reallocarray(v->notes, v->note_count + 1, sizeof(*notes));
	if (!notes)
		return -ENOMEM;
	v->notes = notes;
	va_start(ap, fmt);
	r = vasprintf(&notes[v->note_count], fmt, ap);
	va_end(ap);
	if (r < 0)
		return -ENOMEM;
	v->note_count++;
	return 0;
}

static void node_free(struct view_node *n)
{
	if (!n)
		return;
	for (size_t i = 0; i < n->child_count; i++) {
		if (n->children[i].is_link)
			free(n->children[i].name);
		else
			node_free(n->children[i].node);
	}
	node_free(n->description);
	free(n->children);
	free(n->listing);
	free(n->bytes);
	free(n->path);
	source_object_clear(&n->seal);
	free(n->stated);
	free(n->recipients);
	free(n->broken);
	free(n);
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
	allowance_give(v->allowance, atomic_load(&v->taken));
	free(v);
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
	n->link_count = 1;
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

int view_make_root(struct view *v)
{
	v->root = node_new(NULL, VIEW_DIRECTORY, "", 0);
	v->node_count = v->directory_count = 1;
	return v->root ? 0 : -ENOMEM;
}

/* Room doubles whenever the count is a power of two. */
static int make_room(struct view_node *dir)
{
	size_t room = dir->child_count ? 2 * dir->child_count : 1;
	struct view_entry *children;

	if ((dir->child_count & (dir->child_count - 1)) != 0)
		return 0;
	children = reallocarray(dir->children, room, sizeof(*children));
	if (!children)
		return -ENOMEM;
	dir->children = children;
	return 0;
}

/* The index of name, or where it would be inserted. */
static size_t find_place(const struct view_node *dir, const char *name)
{
	size_t from = 0, to = dir->child_count;

	while (from < to) {
		size_t middle = from + (to - from) / 2;

		if (strcmp(dir->children[middle].name, name) < 0)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

static int insert(struct view_node *dir, size_t place, struct view_node *n, const char *name,
		  bool is_link)
{
	char *copy = is_link ? strdup(name) : n->path + (n->name - n->path);
	int r = make_room(dir);

	if (!copy || r < 0) {
		if (is_link)
			free(copy);
		return -ENOMEM;
	}
	memmove(&dir->children[place + 1], &dir->children[place],
		(dir->child_count - place) * sizeof(dir->children[0]));
	dir->children[place] = (struct view_entry){.name = copy, .node = n, .is_link = is_link};
	dir->child_count++;
	return 0;
}

static int add_node(struct view *v, struct view_node *dir, size_t place, struct view_node *n)
{
	int r = insert(dir, place, n, n->name, false);

	if (r < 0) {
		node_free(n);
		return r;
	}
	v->node_count++;
	if (n->kind == VIEW_DIRECTORY) {
		v->directory_count++;
		dir->subdirectory_count++;
	}
	return 0;
}

int view_append(struct view *v, struct view_node *dir, enum view_kind kind, const char *path,
		size_t path_size, struct view_node **ret)
{
	/* A file's bytes were taken with the listing. */
	int r = kind == VIEW_FILE ? 0 : view_take(v, node_bytes(path_size));
	struct view_node *n = r == 0 ? node_new(dir, kind, path, path_size) : NULL;

	if (r == 0)
		r = n ? add_node(v, dir, dir->child_count, n) : -ENOMEM;
	if (r == 0)
		*ret = n;
	return r;
}

static bool is_taken(const struct view_node *dir, size_t place, const char *name)
{
	return place < dir->child_count && strcmp(dir->children[place].name, name) == 0;
}

static int add_below(struct view *v, struct view_node *dir, enum view_kind kind, const char *name,
		     struct view_node **ret)
{
	size_t place = find_place(dir, name);
	_cleanup_free_ char *path = NULL;
	int r;

	if (is_taken(dir, place, name))
		return -EEXIST;
	if (asprintf(&path, "%s%s%s", dir->path, *dir->path ? "/" : "", name) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	r = view_take(v, node_bytes(strlen(path)));
	if (r < 0)
		return r;
	*ret = node_new(dir, kind, path, strlen(path));
	r = *ret ? add_node(v, dir, place, *ret) : -ENOMEM;
	return r;
}

int view_add_directory(struct view *v, struct view_node *dir, const char *name,
		       struct view_node **ret)
{
	return add_below(v, dir, VIEW_DIRECTORY, name, ret);
}

static void pass_up(struct view_node *dir, int64_t mtime_ns)
{
	for (;; dir = dir->parent) {
		dir->mtime_ns = MAX(dir->mtime_ns, mtime_ns);
		if (dir == dir->parent)
			return;
	}
}

int view_add_bytes(struct view *v, struct view_node *dir, const char *name, const void *data,
		   size_t size, int64_t mtime_ns)
{
	struct view_node *n;
	int r = add_below(v, dir, VIEW_BYTES, name, &n);

	if (r == 0)
		r = view_take(v, size + ALLOWANCE_OVERHEAD);
	if (r < 0)
		return r;
	n->bytes = malloc(size + 1);
	if (!n->bytes)
		return -ENOMEM;
	if (size > 0)
		memcpy(n->bytes, data, size);
	n->size = size;
	n->mtime_ns = mtime_ns;
	pass_up(dir, mtime_ns);
	return digest_buffer(DIGEST_SHA256, n->bytes, size, n->facts.sha256);
}

int view_add_link(struct view *v, struct view_node *dir, const char *name, struct view_node *file)
{
	size_t place = find_place(dir, name);
	int r = is_taken(dir, place, name)
			? -EEXIST
			: view_take(v, ENTRY_BYTES + strlen(name) + 1 + ALLOWANCE_OVERHEAD);

	if (r == 0)
		r = insert(dir, place, file, name, true);
	if (r < 0)
		return r;
	file->link_count++;
	pass_up(dir, file->mtime_ns);
	return 0;
}

struct view_node *view_child(const struct view_node *dir, const char *name)
{
	size_t place = find_place(dir, name);

	return is_taken(dir, place, name) ? dir->children[place].node : NULL;
}

struct error view_fault_of(const struct view_node *n)
{
	struct error err = {0};

	if (!n->broken)
		return err;
	error_set(&err, n->broken->code, "%s", n->broken->text);
	if (n->broken->hint[0])
		error_hint(&err, "%s", n->broken->hint);
	return err;
}

const struct view_node *view_lookup(const struct view_node *dir, const char *name)
{
	return view_child(dir, name);
}

/* The file that n describes; NULL: n is no description. */
static struct view_node *find_described(const struct view_node *n)
{
	size_t size = strlen(n->name), suffix = strlen(OLLAMA_SUFFIX);
	_cleanup_free_ char *name = NULL;
	struct view_node *file;

	if (size <= suffix || strcmp(n->name + size - suffix, OLLAMA_SUFFIX) != 0)
		return NULL;
	name = strndup(n->name, size - suffix);
	file = name ? view_child(n->parent, name) : NULL;
	return file && file->kind == VIEW_FILE ? file : NULL;
}

static void take_out(struct view *v, struct view_node *n)
{
	struct view_node *dir = n->parent;
	size_t place = find_place(dir, n->name);

	memmove(&dir->children[place], &dir->children[place + 1],
		(dir->child_count - place - 1) * sizeof(dir->children[0]));
	dir->child_count--;
	v->node_count--;
}

int view_pair_descriptions(struct view *v)
{
	size_t kept = 0;

	for (size_t i = 0; i < v->file_count; i++) {
		struct view_node *n = v->files[i], *file = find_described(n);

		if (file) {
			take_out(v, n);
			file->description = n;
			continue;
		}
		n->file_index = kept;
		v->files[kept++] = n;
	}
	v->file_count = kept;
	for (size_t i = 0; i < v->file_count; i++)
		if (__builtin_add_overflow(v->total_size, v->files[i]->size, &v->total_size))
			v->total_size = UINT64_MAX;
	return 0;
}
