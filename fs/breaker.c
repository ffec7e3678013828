/*
 * The populate breaker. Job: count failed reads of one place and say when the loop is to be
 * broken. Must never cut a file because of errors that are spread over time or over the file.
 */
#include "fs/breaker.h"

void breaker_init(struct breaker *b)
{
	*b = (struct breaker){.cut = UINT64_MAX};
	pthread_mutex_init(&b->lock, NULL);
}

void breaker_done(struct breaker *b)
{
	pthread_mutex_destroy(&b->lock);
}

bool breaker_error(struct breaker *b, uint64_t offset, uint64_t now_ms)
{
	bool cut;

	pthread_mutex_lock(&b->lock);
	if (b->errors == 0 || b->offset != offset || now_ms - b->since_ms > BREAKER_WINDOW_MS) {
		b->offset = offset;
		b->since_ms = now_ms;
		b->errors = 0;
	}
	if (++b->errors >= BREAKER_ERRORS && offset < b->cut)
		b->cut = offset;
	cut = offset >= b->cut;
	pthread_mutex_unlock(&b->lock);
	return cut;
}

bool breaker_is_cut(struct breaker *b, uint64_t offset)
{
	bool cut;

	pthread_mutex_lock(&b->lock);
	cut = offset >= b->cut;
	pthread_mutex_unlock(&b->lock);
	return cut;
}

bool breaker_reset(struct breaker *b)
{
	bool was;

	pthread_mutex_lock(&b->lock);
	was = b->cut != UINT64_MAX;
	b->cut = UINT64_MAX;
	b->errors = 0;
	pthread_mutex_unlock(&b->lock);
	return was;
}
