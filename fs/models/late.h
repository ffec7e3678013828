/*
 * late.h: answers failed reads late, as deferral.h decides, from one thread: a waiting reader does
 * not occupy a thread of the session. A process that is being killed gets its answer at once.
 *
 * Threads: any. late_look() waits only for a short lock.
 */
#ifndef SEALEDFS_MODELS_LATE_H
#define SEALEDFS_MODELS_LATE_H

#include "crypto/base/error.h"
#include "fs/models/deferral.h"

/* How to answer a request, and to find out that its reader got a signal. answer() is called once
 * for each, without a lock; is_interrupted() under a lock, and must not wait. */
struct late_calls {
	void (*answer)(void *request, int code);
	bool (*is_interrupted)(void *request);
};

struct late;

/* Starts the thread; fails if that is impossible. */
int late_new(const struct late_calls *calls, struct late **ret, struct error *err);
/*
 * Takes the request and answers it now or later. True: later, and ret_look has the waiting readers.
 * due_ms need not be set.
 */
bool late_fail(struct late *l, const struct deferred *read, struct deferral_look *ret_look);
/* The reader of this request got a signal; the request may have been answered meanwhile. */
void late_interrupt(struct late *l, void *request);
/* Answers everything, and later reads at once. After it returns, no answer is in progress. */
void late_stop(struct late *l);
void late_free(struct late *l);
void late_look(struct late *l, uint64_t ino, struct deferral_look *ret);

DEFINE_CLEANUP(struct late *, late_free)

#endif
