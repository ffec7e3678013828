/*
 * progress.h: a line on the terminal with amount, rate and time left; nothing if standard error is
 * not a terminal. progress_add() may be called by any thread.
 */
#ifndef SEALEDFS_TOOLS_PROGRESS_H
#define SEALEDFS_TOOLS_PROGRESS_H

#include "crypto/base/cleanup.h"

#include <stdbool.h>

struct progress;

#define PROGRESS_TOTAL_UNKNOWN UINT64_MAX

/* label is copied, and printed safely. NULL if nothing is to be shown; all calls accept that. */
struct progress *progress_new(const char *label, uint64_t total, bool quiet);
void progress_add(struct progress *p, uint64_t bytes);
/*
 * Shows for how many seconds a server has been silent, from the third second on, in place of any
 * progress line; 0: the wait is over. Only if standard error is a terminal. Any thread.
 */
void progress_waiting(const char *host, unsigned seconds);
/* Wipes the line. */
void progress_free(struct progress *p);

DEFINE_CLEANUP(struct progress *, progress_free)

/* The line without escape codes; for tests too. size: of out. */
void progress_format(const char *label, uint64_t done, uint64_t total, double seconds, double rate,
		     int columns, char *out, size_t size);

#endif
