/*
 * Signs of life. Job: detect hangs without mistaking a slow network for one.
 */
#include "fs/service/life.h"

void life_start(struct life *l, uint64_t now_ms)
{
	l->moved_ms = now_ms;
	l->answered = true;
}

bool life_has_moved(struct life *l, uint64_t now_ms)
{
	unsigned long long sum = atomic_load(&l->finished) + atomic_load(&l->events) + l->answers;
	bool moved = sum != l->seen;

	l->seen = sum;
	if (moved)
		l->moved_ms = now_ms;
	return moved;
}

bool life_is_good(struct life *l, uint64_t now_ms)
{
	(void)life_has_moved(l, now_ms);
	if (atomic_load(&l->started) != atomic_load(&l->finished))
		return now_ms - l->moved_ms <= LIFE_STUCK_MS;
	l->moved_ms = now_ms;
	return l->answered;
}
