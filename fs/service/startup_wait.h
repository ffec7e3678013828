/*
 * startup_wait.h: waits at start for what a booting machine may not have yet: network, clock, the
 * instance's role, S3, KMS, the TPM. The option wait= limits it, and the service manager is
 * informed throughout. Threads: one.
 */
#ifndef SEALEDFS_SERVICE_STARTUP_WAIT_H
#define SEALEDFS_SERVICE_STARTUP_WAIT_H

#include "fs/service/notify.h"

#include <stdint.h>
#include <time.h>

struct startup_wait {
	struct notify *notify; /* borrowed */
	uint64_t end_ms, device_end_ms;
	unsigned delay_ms;
	char last[ERROR_MESSAGE_MAX]; /* the reason that was logged last */
};

void startup_wait_begin(struct startup_wait *w, struct notify *notify, unsigned wait_s);
/*
 * After a failure: if another attempt may succeed and there is time left for it, sleeps and returns
 * true. Logs each reason once.
 */
bool startup_wait_again(struct startup_wait *w, int code, const struct error *err);
/* Returns when the clock has been set or the time is up. Signatures and certificates depend on it.
 */
void startup_wait_for_clock(struct startup_wait *w);

/* True if the failure may disappear without a change of the configuration. */
bool startup_failure_may_pass(int code);
/* False on a machine that has no battery for its clock and has not set it yet. */
bool startup_clock_is_set(time_t now);

#endif
