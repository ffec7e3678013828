/*
 * A shared byte budget. Job: count, and refuse what exceeds the limit before it is allocated.
 */
#include "crypto/base/allowance.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#define SUBJECT_MAX 512

int allowance_take(struct allowance *a, size_t bytes)
{
	size_t used;

	if (!a)
		return 0;
	used = atomic_load(&a->used);
	do {
		if (used > a->limit || bytes > a->limit - used)
			return -ENOBUFS;
	} while (!atomic_compare_exchange_weak(&a->used, &used, used + bytes));
	if (a->changed)
		a->changed(a->arg);
	return 0;
}

void allowance_give(struct allowance *a, size_t bytes)
{
	if (!a || bytes == 0)
		return;
	atomic_fetch_sub(&a->used, bytes);
	if (a->changed)
		a->changed(a->arg);
}

size_t allowance_left(struct allowance *a)
{
	size_t used;

	if (!a)
		return SIZE_MAX;
	used = atomic_load(&a->used);
	return used < a->limit ? a->limit - used : 0;
}

int allowance_refuse(struct allowance *a, size_t bytes, struct error *err, const char *fmt, ...)
{
	size_t left = allowance_left(a);
	char subject[SUBJECT_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(subject, sizeof(subject), fmt, ap);
	va_end(ap);
	if (a && a->advise)
		a->advise(a->limit - MIN(left, a->limit) + bytes, a->advise_arg, err);
	return error_set(err, -ENOBUFS, "%s needs %.1f MB of memory, and %.1f MB are left", subject,
			 (double)bytes / 1e6, (double)left / 1e6);
}
