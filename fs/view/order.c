/*
 * The order of listings. Job: a cookie for each entry that is the same in every generation, so that
 * a position in one listing means the same in the next one. With an index, a reader that
 * continues after entry 1000 of 2000, after 700 names were inserted before it, gets 700 entries
 * twice.
 */
#include "crypto/base/digest.h"
#include "fs/view/view.h"

#include <errno.h>
#include <string.h>

/* SHA-256: names are a stranger's choice, and cookies must differ. */
static int make_cookie(const char *name, uint64_t *ret)
{
	uint8_t digest[SHA256_SIZE];
	int r = digest_buffer(DIGEST_SHA256, name, strlen(name), digest);

	if (r < 0)
		return r;
	memcpy(ret, digest, sizeof(*ret));
	*ret = MAX(*ret >> 1, (uint64_t)VIEW_COOKIE_MIN);
	return 0;
}

static int compare(const void *a, const void *b, void *arg)
{
	const struct view_entry *children = arg;
	const struct view_entry *x = &children[*(const uint32_t *)a];
	const struct view_entry *y = &children[*(const uint32_t *)b];

	if (x->cookie != y->cookie)
		return x->cookie < y->cookie ? -1 : 1;
	return strcmp(x->name, y->name);
}

static int order_directory(struct view_node *dir)
{
	uint64_t last = VIEW_COOKIE_MIN - 1;
	int r = 0;

	if (dir->child_count > UINT32_MAX)
		return -E2BIG;
	dir->listing = calloc(dir->child_count + 1, sizeof(dir->listing[0]));
	if (!dir->listing)
		return -ENOMEM;
	for (size_t i = 0; i < dir->child_count && r == 0; i++) {
		dir->listing[i] = (uint32_t)i;
		r = make_cookie(dir->children[i].name, &dir->children[i].cookie);
	}
	if (r < 0)
		return r;
	if (dir->child_count > 1)
		qsort_r(dir->listing, dir->child_count, sizeof(dir->listing[0]), compare,
			dir->children);
	/* Two of 2^63 that are the same: the second one moves on. */
	for (size_t i = 0; i < dir->child_count; i++) {
		struct view_entry *e = &dir->children[dir->listing[i]];

		if (e->cookie <= last)
			e->cookie = last + 1;
		last = e->cookie;
	}
	return last > INT64_MAX ? -EEXIST : 0;
}

static int order_below(struct view_node *dir)
{
	int r = order_directory(dir);

	for (size_t i = 0; i < dir->child_count && r == 0; i++)
		if (dir->children[i].node->kind == VIEW_DIRECTORY)
			r = order_below(dir->children[i].node);
	return r;
}

int view_order(struct view *v)
{
	return order_below(v->root);
}

const struct view_entry *view_next(const struct view_node *dir, uint64_t cookie)
{
	size_t from = 0, to = dir->child_count;

	while (from < to) {
		size_t middle = from + (to - from) / 2;

		if (dir->children[dir->listing[middle]].cookie <= cookie)
			from = middle + 1;
		else
			to = middle;
	}
	return from < dir->child_count ? &dir->children[dir->listing[from]] : NULL;
}
