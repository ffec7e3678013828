/*
 * deferral.h: decides which failed reads are answered late, and how late.
 *
 * If a page is populated into a mapping (MAP_POPULATE, mlock) and its read fails, the kernel asks
 * for it again at once, some 70,000 times a second: its loop ignores errors. The loop ends when the
 * read succeeds or the process is killed. A short answer would end it as well, but would leave
 * pages of zeros where the model has bytes. Instead, a reader that fails DEFERRAL_FREE times in one
 * file without a pause gets its errors later and later, up to DEFERRAL_MAX_MS.
 *
 * Failures are counted by reader (thread) and file, not by offset: one loop may ask for several
 * offsets. If the reader is unknown (0: in another PID namespace), they are counted by offset.
 *
 * Waiting answers are kept here: at most DEFERRAL_ANSWERS_MAX, of which DEFERRAL_LARGE_MAX are
 * larger than a page. Larger ones are readahead: the kernel allows a limited number of them for the
 * whole mount, and readers of other files need some. A loop asks for single pages.
 *
 * Threads: the caller holds a lock. Time is passed in, in milliseconds of a monotonic clock.
 */
#ifndef SEALEDFS_MODELS_DEFERRAL_H
#define SEALEDFS_MODELS_DEFERRAL_H

#include "crypto/base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* One read(2) may take ten: the readahead in pieces, then the page itself. */
#define DEFERRAL_FREE 24
#define DEFERRAL_FIRST_MS 10 /* then twice as much each time; also the unit of time */
#define DEFERRAL_MAX_MS 2000
/*
 * The number of failures that are answered at once after one that waited. The page is locked while
 * its reader waits, and the loop asks again so soon that other readers of the page hardly ever get
 * the lock in between: they need more than one chance.
 */
#define DEFERRAL_BURST 8
/* A reader without a failure for this long after its last answer starts from zero. */
#define DEFERRAL_FORGET_MS 30000
/* A reader is shown as waiting for this long after its last answer: of several that loop at one
 * page, all but one wait in the kernel for its lock. */
#define DEFERRAL_SHOWN_MS 15000
#define DEFERRAL_ANSWERS_MAX 4096
#define DEFERRAL_LARGE_MAX 16
#define DEFERRAL_READERS_MAX 1024
#define DEFERRAL_SHOWN_MAX 8

/* A read that failed. */
struct deferred {
	uint64_t ino, offset;
	size_t size;
	pid_t reader;	 /* a thread's id; 0: not known */
	void *request;	 /* the caller's */
	int code;	 /* negative errno to answer with */
	uint64_t due_ms; /* set here */
};

/* The readers that wait for one file. */
struct deferral_look {
	unsigned count; /* of all */
	unsigned shown;
	struct {
		pid_t process;
		uint64_t offset;
	} readers[DEFERRAL_SHOWN_MAX];
};

struct deferral;

/* process_of: the process of a thread, called once for each reader that must wait; is_there: false
 * if it has ended. -ENOMEM. */
int deferral_new(pid_t (*process_of)(pid_t thread), bool (*is_there)(pid_t process),
		 struct deferral **ret);
void deferral_free(struct deferral *d);
/* False: answer it now; it is not kept. */
bool deferral_add(struct deferral *d, const struct deferred *read, uint64_t now_ms);
/* Takes out one that is due; UINT64_MAX: any. */
bool deferral_take(struct deferral *d, uint64_t now_ms, struct deferred *ret);
/* The read of this request, valid until the next call; NULL: it does not wait. */
const struct deferred *deferral_find(const struct deferral *d, const void *request);
/* Takes out what deferral_find() gave. */
void deferral_remove(struct deferral *d, const struct deferred *read);
/* When the next answer is due; UINT64_MAX: none is waiting. */
uint64_t deferral_next_ms(const struct deferral *d);
void deferral_look(const struct deferral *d, uint64_t ino, uint64_t now_ms,
		   struct deferral_look *ret);

DEFINE_CLEANUP(struct deferral *, deferral_free)

#endif
