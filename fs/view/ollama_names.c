/*
 * Names in the Ollama store. Job: give each name to one model only. Names are compared as Ollama
 * compares them.
 */
#include "fs/view/ollama_internal.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>

/* The name, and the tree's node for it. */
#define NAME_BYTES (sizeof(struct taken) + 2 * ALLOWANCE_OVERHEAD + 4 * sizeof(void *))

struct taken {
	struct ollama_name name; /* first: a pointer to it is a pointer to this */
	const struct view_node *by;
	bool reserved;
};

static int compare_names(const void *a, const void *b)
{
	return ollama_name_compare(a, b);
}

int ollama_names_take(struct ollama_names *names, const struct ollama_name *name,
		      const struct view_node *n, bool reserve, const struct view_node **ret_by)
{
	struct taken **found = tfind(name, &names->tree, compare_names), *t;

	if (found) {
		t = *found;
		*ret_by = t->by;
		if (!t->reserved || t->by->owner != n->owner || reserve)
			return 0;
		t->reserved = false;
		t->by = n;
		return 1;
	}
	if (allowance_take(names->view->allowance, NAME_BYTES) < 0)
		return -ENOBUFS;
	names->bytes += NAME_BYTES;
	t = malloc(sizeof(*t));
	if (!t)
		return -ENOMEM;
	*t = (struct taken){*name, n, reserve};
	if (!tsearch(t, &names->tree, compare_names)) {
		free(t);
		return -ENOMEM;
	}
	return 1;
}

void ollama_names_clear(struct ollama_names *names)
{
	tdestroy(names->tree, free);
	allowance_give(names->view->allowance, names->bytes);
}
