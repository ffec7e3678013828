/*
 * set_seal.h: `sealctl seal --set NAME`: models that are sealed into a set and become its members
 * all at once (crypto/FORMAT.md section 11.5). One thread.
 */
#ifndef SEALEDFS_TOOLS_SET_SEAL_H
#define SEALEDFS_TOOLS_SET_SEAL_H

#include "tools/seal/plan.h"
#include "tools/seal/publish.h"
#include "tools/set/set_store.h"

struct set_seal_options {
	const char *name;
	bool alone; /* members also for the recipients themselves */
	bool has_expires, remove_old;
	uint64_t expires;
	struct set_access pins;	   /* id, version, state */
	const struct facts *facts; /* NULL: as before */
	const struct recipient_options *recipients;
};

struct set_sealing {
	struct set_seal_options options;
	const struct seal_request *req;
	struct unlock *unlock;
	struct owner_keys *owners;
	struct set_store store;
	struct set_member *members;
	struct set_trace { /* of each member */
		char *path, *object, *payload, *old_payload;
	} * traces;
	size_t count, room;
};

/*
 * Opens the set at req->dest, or prepares a new one, and checks that the shards of the plan are
 * complete. recipients then make data keys for members. Errors as set_store.h; -EINVAL: another
 * name, a signed set without a signer, a recipient that the set does not have.
 */
int set_sealing_begin(struct set_sealing *s, const struct set_seal_options *options,
		      const struct seal_request *req, struct recipients *recipients,
		      const struct plan *plan, struct error *err);
/* What seal_input() did with req->for_set. */
int set_sealing_add(struct set_sealing *s, const char *name, const struct seal_result *res);
/* Writes the set; then puts pending seals in their place and removes what they replaced. */
int set_sealing_commit(struct set_sealing *s, struct error *err);
/* Unless the set was written: removes what was sealed. Frees everything. */
void set_sealing_end(struct set_sealing *s, bool failed);

#endif
