/*
 * Comparing two generations for the kernel. Job: invalidate what changed, and nothing more: a page
 * that is dropped without need is read again by a running model. It is no error if the kernel does
 * not know a name.
 */
#include "fs/fuse/invalidate.h"

#include <string.h>

struct comparison {
	struct fuse_session *session;
	const struct generation *old, *now;
};

static void forget_name(const struct comparison *c, const struct view_node *dir,
			const struct view_entry *child)
{
	(void)fuse_lowlevel_notify_inval_entry(c->session, dir->ino, child->name,
					       strlen(child->name));
}

static bool compare_directories(const struct comparison *c, const struct view_node *old,
				const struct view_node *now);

/* The same name, and the same inode number. */
static void compare_nodes(const struct comparison *c, const struct view_node *old,
			  const struct view_node *now)
{
	/* The kernel caches listings, and the times of a changed one may be the same. */
	if (now->kind == VIEW_DIRECTORY && compare_directories(c, old, now))
		(void)fuse_lowlevel_notify_inval_inode(c->session, now->ino, 0, 0);
	/* The same file with another model: one that was broken or poisoned is opened anew. */
	else if (now->kind == VIEW_FILE &&
		 generation_model(c->old, old) != generation_model(c->now, now))
		(void)fuse_lowlevel_notify_inval_inode(c->session, now->ino, 0, 0);
	if (old->mtime_ns != now->mtime_ns || old->subdirectory_count != now->subdirectory_count ||
	    old->link_count != now->link_count)
		(void)fuse_lowlevel_notify_inval_inode(c->session, now->ino, -1, 0);
}

/* Children are sorted by name on both sides. True: the entries differ. */
static bool compare_directories(const struct comparison *c, const struct view_node *old,
				const struct view_node *now)
{
	size_t i = 0, k = 0;
	bool changed = false;

	while (i < old->child_count || k < now->child_count) {
		const struct view_entry *a = i < old->child_count ? &old->children[i] : NULL;
		const struct view_entry *b = k < now->child_count ? &now->children[k] : NULL;
		int order = !a ? 1 : !b ? -1 : strcmp(a->name, b->name);

		changed = changed || order != 0 || a->node->ino != b->node->ino;
		/* The target of a link is compared at its own place. */
		if (order == 0 && a->node->ino == b->node->ino) {
			if (!b->is_link)
				compare_nodes(c, a->node, b->node);
		} else if (a && order <= 0) {
			forget_name(c, now, a);
		} else if (b) {
			forget_name(c, now, b);
		}
		i += order <= 0;
		k += order >= 0;
	}
	return changed;
}

void ops_listing_changed(struct ops_context *c, const struct generation *old,
			 const struct generation *now)
{
	struct comparison comparison = {c->session, old, now};

	compare_nodes(&comparison, generation_view(old)->root, generation_view(now)->root);
}
