/*
 * Digests of a directory as a set. Job: the same choice of files as sealing, and the arithmetic of
 * crypto/FORMAT.md section 11.4. Trusts the inputs to notice changes.
 */
#include "tools/inspect/hash_set.h"

#include "crypto/set_writer.h"
#include "tools/common/interrupt.h"
#include "tools/inspect/hash_input.h"
#include "tools/seal/plan.h"

#include <errno.h>
#include <string.h>

static int hash_file(const struct plan_entry *e, bool quiet, struct prediction *p,
		     struct set_member *ret, struct error *err)
{
	struct input_digests found = {0};
	int r = hash_path(e->path, e->name, quiet, &found, err);

	if (r < 0)
		return r;
	*ret = (struct set_member){.path = e->name, .length = found.length};
	memcpy(ret->sha256, found.digests.sha256, sizeof(ret->sha256));
	memcpy(ret->verity, found.digests.verity, sizeof(ret->verity));
	return predict_add(p, e->name, &found.digests, found.is_event_text);
}

int hash_set_directory(const char *directory, bool quiet, struct prediction *p, struct error *err)
{
	_cleanup_(plan_clear) struct plan plan = {.checkout = true};
	_cleanup_free_ struct set_member *members = NULL;
	int r = plan_add(&plan, directory, NULL, err);

	if (r == 0)
		r = plan_finish(&plan, err);
	if (r < 0)
		return r;
	members = calloc(plan.count, sizeof(*members));
	if (!members)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < plan.count; i++) {
		r = interrupt_check(err);
		if (r == 0)
			r = hash_file(&plan.entries[i], quiet, p, &members[i], err);
	}
	if (r < 0)
		return r;
	set_sort_members(members, plan.count);
	p->has_content = true;
	return set_content_digest(members, plan.count, p->content);
}
