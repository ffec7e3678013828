/*
 * rewrap.h: other recipients for what is sealed already: seals and sets are rewritten, payloads are
 * not touched (crypto/FORMAT.md sections 4 and 11.5). One thread.
 */
#ifndef SEALEDFS_TOOLS_REWRAP_H
#define SEALEDFS_TOOLS_REWRAP_H

#include "tools/common/cli.h"
#include "tools/common/target.h"
#include "tools/rewrap/wish.h"
#include "tools/set/set_store.h"

enum rewrap_result { REWRAP_DONE, REWRAP_ALREADY, REWRAP_FAILED, REWRAP_RESULTS };

struct rewrap_report {
	const char *label; /* of the object, for messages */
	enum rewrap_result result;
	const struct plan_slots *plan; /* NULL: it was not reached */
	int code;		       /* of REWRAP_FAILED */
	const struct error *error;
};

struct rewrap {
	struct wish wish;
	struct set_access access; /* what opens, and whose signature is wanted */
	bool quiet;
	void (*report)(void *arg, const struct rewrap_report *report);
	void *arg;
};

/* As target_open(), also for a set. */
int rewrap_open(struct cli *cli, const char *operand, struct target *ret, struct error *err);
/* What counts as a seal in a place: also one that waits for its set. */
bool rewrap_is_seal(const char *name);
/* Calls fn for each seal that is listed but cannot be read, such as a link, with the reason. Who
 * dropped a recipient must know that it was left out. */
void rewrap_each_skipped(struct source *source, const struct source_listing *l,
			 void (*fn)(void *arg, const char *label, const struct error *err),
			 void *arg);

/*
 * One seal, one set, or everything in a place: its set, and each seal with recipients of its own.
 * Who is added to a set is not added to seals that the set opens; who is dropped is dropped
 * everywhere. What fails is reported, and the rest is done; negative only for what stops it:
 * -EINTR, a place that cannot be listed, servers that cannot be reached.
 */
int rewrap_target(struct rewrap *w, const struct target *t, struct error *err);

#endif
