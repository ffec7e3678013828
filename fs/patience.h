/*
 * patience.h: waiting at start for what a machine that boots may not have yet: network, clock, the
 * instance's role, S3, KMS, the TPM. Bounded by the option wait=, and told to the service manager
 * all the while. Threads: one.
 */
#ifndef SEALEDFS_PATIENCE_H
#define SEALEDFS_PATIENCE_H

#include "fs/status.h"

#include <stdint.h>
#include <time.h>

struct patience {
	struct notify *notify; /* borrowed */
	struct status *status; /* borrowed */
	uint64_t end_ms, device_end_ms;
	unsigned delay_ms;
	char last[ERROR_MESSAGE_MAX]; /* what was logged */
};

void patience_start(struct patience *p, struct notify *notify, struct status *status,
		    unsigned wait_s);
/*
 * After a failure: sleeps a little and says true where another attempt may succeed and there is
 * time left for it; logs each reason once.
 */
bool patience_again(struct patience *p, int code, const struct error *err);
/* Returns when the clock has been set, or time is up: signatures and certificates need it. */
void patience_for_clock(struct patience *p);

/* True: this may be different in a while, without anybody changing a configuration. */
bool patience_is_due(int code);
/* False: a machine without a battery for its clock, before it was set. */
bool patience_clock_is_set(time_t now);

#endif
