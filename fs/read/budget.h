/*
 * budget.h: the daemon's memory budget and its parts. The budget is the value of memory=, but never
 * more than half of what a control group allows (memory.max and memory.high, or
 * memory.limit_in_bytes of version 1), or a quarter of the machine's memory.
 *
 * The parts: data waiting for the disk of a stage; ciphertext in flight; and plaintext, whose
 * buffers shrink, down to CHUNKS_MIN, when listings and models (seals' tables) need memory.
 */
#ifndef SEALEDFS_BUDGET_H
#define SEALEDFS_BUDGET_H

#include "crypto/base/allowance.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BUDGET_DEFAULT ((size_t)256 << 20)
#define BUDGET_MIN ((size_t)32 << 20)
/* Memory of the process beyond its budget, including what the kernel needs for it: a control group
 * that allows less than this plus BUDGET_MIN eventually kills the process. */
#define BUDGET_BESIDE ((size_t)24 << 20)
/* The minimum for a stage's writer. */
#define BUDGET_STAGE_MIN ((size_t)8 << 20)

/* asked 0: the default. The result is at least BUDGET_MIN, the minimum for operation. */
size_t budget_limit(size_t asked);
struct budget {
	size_t asked, total; /* bytes; total: after all limits */
	bool staged;
	size_t stage;	/* for data waiting to be written; 0 without a stage */
	size_t extents; /* buffers of SEAL_EXTENT_SIZE for ciphertext */
	size_t chunks;	/* buffers of SEAL_CHUNK_SIZE for plaintext */
	size_t kept;	/* bytes: how much of the latter may become listings and tables */
};
/* -EINVAL: the control group allows less than the minimum, which the message states. */
int budget_divide(size_t asked, bool staged, struct budget *ret, struct error *err);
/* The same for a given total, without reading the machine's limits. */
void budget_divide_total(size_t total, bool staged, struct budget *ret);
/* For struct allowance; arg: a struct budget. */
void budget_advise(size_t kept, void *arg, struct error *err);

#endif
