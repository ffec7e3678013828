/*
 * The memory budget. Job: prevent the kernel from killing the daemon for lack of memory. Without
 * control groups the machine's memory is the only limit.
 */
#include "fs/read/budget.h"

#include "crypto/base/memory.h"
#include "crypto/format.h"

#include <string.h>

#define MIB ((size_t)1 << 20)
/* More than this is never on its way or unread. */
#define EXTENTS_MAX ((size_t)64)
/* Plaintext for requests being answered, and for the pass over a model (hash.c). */
#define CHUNKS_MIN ((size_t)24)

size_t budget_limit(size_t asked)
{
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
	uint64_t limit = asked ? asked : BUDGET_DEFAULT;

	if (pages > 0 && page > 0)
		limit = MIN(limit, (uint64_t)pages * (uint64_t)page / 4);
	limit = MIN(limit, memory_group_limit() / 2);
	return (size_t)MAX(limit, (uint64_t)BUDGET_MIN);
}

void budget_divide_total(size_t total, bool staged, struct budget *ret)
{
	size_t left;

	*ret = (struct budget){.asked = total, .total = total, .staged = staged};
	/* An eighth waits for the disk. */
	ret->stage =
		staged ? MAX(total / 8 / SEAL_EXTENT_SIZE * SEAL_EXTENT_SIZE, BUDGET_STAGE_MIN) : 0;
	left = total - ret->stage;
	/*
	 * Two thirds for ciphertext in flight, the rest for plaintext, of which only the part for
	 * requests being answered is required: 32 loop threads with 1 MiB each need 48 MiB. With
	 * 256 MiB that is 21 extents: 16 in flight, and 5 ready or in use. Untouched pages cost
	 * nothing: with a directory as the source, only the plaintext's are ever used.
	 */
	ret->extents = MAX(MIN(left * 2 / 3 / SEAL_EXTENT_SIZE, EXTENTS_MAX), (size_t)2);
	ret->chunks = (left - ret->extents * SEAL_EXTENT_SIZE) / SEAL_CHUNK_SIZE;
	ret->kept = (ret->chunks - MIN(CHUNKS_MIN, ret->chunks * 3 / 4)) * SEAL_CHUNK_SIZE;
}

int budget_divide(size_t asked, bool staged, struct budget *ret, struct error *err)
{
	uint64_t group = memory_group_limit(), least = BUDGET_MIN + BUDGET_BESIDE;

	if (group < least) {
		error_hint(err, "raise the limit, MemoryMax= of the unit or the container's");
		return error_set(err, -EINVAL,
				 "the control group allows %llu MB of memory, and %llu MB are the "
				 "least that works",
				 (unsigned long long)group / 1000000,
				 (unsigned long long)least / 1000000 + 1);
	}
	budget_divide_total(budget_limit(asked), staged, ret);
	ret->asked = asked ? asked : BUDGET_DEFAULT;
	return 0;
}

void budget_advise(size_t kept, void *arg, struct error *err)
{
	const struct budget *now = arg;
	struct budget then;
	size_t total = now->total / MIB * MIB;

	do {
		total += MAX(total / 16 / MIB, (size_t)1) * MIB;
		budget_divide_total(total, now->staged, &then);
	} while (then.kept < kept && total < SIZE_MAX / 4);
	if (now->total < now->asked)
		error_hint(err,
			   "it takes memory=%zuM, and this machine or its control group holds it "
			   "to %zuM",
			   total / MIB, now->total / MIB);
	else
		error_hint(err, "mount with memory=%zuM or more", total / MIB);
}
