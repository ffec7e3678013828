/*
 * Inode numbers. Job: the same number for the same thing at every mount, so that programs which
 * remember inodes (backup, rsync, find) are not fooled, and another number for another version of
 * a model, so that the kernel's page cache of the old one can never be taken for the new one. A
 * version is everything that the seal's core states. The file id alone is no version: its owner
 * chooses it. The payload's version is not part of it: what a payload can be is in the core.
 */
#include "crypto/base/digest.h"
#include "fs/view/view.h"

#include <errno.h>
#include <string.h>

#define TRIES_MAX 64

/* What a number is made of: kind, path, and for a file its version (of bytes: their digest), each
 * ended by a zero byte. */
static int hash_node(const struct view_node *n, uint8_t again, uint64_t *ret)
{
	static const uint8_t unread[SHA256_SIZE];
	_cleanup_digest_ struct digest *d = NULL;
	uint8_t out[SHA256_SIZE], kind = (uint8_t)n->kind;
	int r = digest_new(DIGEST_SHA256, &d);

	if (r == 0)
		r = digest_update(d, &kind, sizeof(kind));
	if (r == 0)
		r = digest_update(d, n->path, strlen(n->path) + 1);
	if (r == 0)
		r = digest_update(d, n->facts.core, sizeof(n->facts.core));
	/* A head that cannot be read has no core: its object's version stands in. */
	if (r == 0 && n->kind == VIEW_FILE && memcmp(n->facts.core, unread, sizeof(unread)) == 0)
		r = digest_update(d, n->seal.version, strlen(n->seal.version) + 1);
	if (r == 0 && n->kind == VIEW_BYTES)
		r = digest_update(d, n->facts.sha256, sizeof(n->facts.sha256));
	if (r == 0)
		r = digest_update(d, &again, sizeof(again));
	if (r == 0)
		r = digest_final(d, out);
	if (r == 0)
		memcpy(ret, out, sizeof(*ret));
	return r;
}

static int compare_inos(const void *a, const void *b)
{
	const struct view_node *x = *(struct view_node *const *)a;
	const struct view_node *y = *(struct view_node *const *)b;

	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	return strcmp(x->path, y->path); /* decides which keeps its number in a collision */
}

static void gather(struct view *v, struct view_node *n, size_t *count)
{
	v->by_ino[(*count)++] = n;
	for (size_t i = 0; i < n->child_count; i++)
		if (!n->children[i].is_link)
			gather(v, n->children[i].node, count);
}

/* Numbers the nodes anew that share one with an earlier node; false when there were none. */
static bool spread_collisions(struct view *v, uint8_t again, int *ret)
{
	bool found = false;

	qsort(v->by_ino, v->node_count, sizeof(struct view_node *), compare_inos);
	for (size_t i = v->node_count - 1; i > 0; i--) {
		struct view_node *n = v->by_ino[i];

		if (n->ino != v->by_ino[i - 1]->ino && n->ino > VIEW_RESERVED_INOS)
			continue;
		if (n == v->root)
			continue;
		found = true;
		*ret = hash_node(n, again, &n->ino);
		if (*ret < 0)
			return true;
	}
	return found;
}

int view_number(struct view *v)
{
	size_t count = 0;
	int r = 0;

	v->by_ino = calloc(v->node_count, sizeof(struct view_node *));
	if (!v->by_ino)
		return -ENOMEM;
	gather(v, v->root, &count);
	for (size_t i = 0; i < count && r == 0; i++)
		r = hash_node(v->by_ino[i], 0, &v->by_ino[i]->ino);
	v->root->ino = VIEW_ROOT_INO;
	for (uint8_t again = 1; r == 0 && spread_collisions(v, again, &r);)
		if (++again > TRIES_MAX)
			return -EEXIST;
	return r < 0 ? r : view_order(v);
}

static int compare_ino(const void *key, const void *item)
{
	uint64_t want = *(const uint64_t *)key, ino = (*(struct view_node *const *)item)->ino;

	return want < ino ? -1 : want > ino;
}

const struct view_node *view_by_ino(const struct view *v, uint64_t ino)
{
	struct view_node **found =
		bsearch(&ino, v->by_ino, v->node_count, sizeof(struct view_node *), compare_ino);

	return found ? *found : NULL;
}
