/*
 * The populate breaker. Job: count failed reads of one place, say when the loop is to be broken,
 * and keep the order in which a cut is undone. Must never cut a file because of errors that are
 * spread over time or over the file.
 */
#include "fs/breaker.h"

#define PAGE_BYTES UINT64_C(4096) /* a cut inside a page would leave its rest as zeros */

void breaker_init(struct breaker *b)
{
	*b = (struct breaker){.end = UINT64_MAX, .size = UINT64_MAX};
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->answered, NULL);
}

void breaker_done(struct breaker *b)
{
	pthread_cond_destroy(&b->answered);
	pthread_mutex_destroy(&b->lock);
}

static bool begin_answer(struct breaker *b, uint64_t offset)
{
	if (offset < b->end)
		return false;
	b->answering++;
	return true;
}

bool breaker_is_cut(struct breaker *b, uint64_t offset)
{
	bool cut;

	pthread_mutex_lock(&b->lock);
	cut = begin_answer(b, offset);
	pthread_mutex_unlock(&b->lock);
	return cut;
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
	/* A push that is under way ends soon; the next error cuts. */
	if (++b->errors >= BREAKER_ERRORS && offset < b->end && b->pushing == 0) {
		b->end = offset & ~(PAGE_BYTES - 1);
		if (b->end < b->size)
			b->size = b->end;
	}
	cut = begin_answer(b, offset);
	pthread_mutex_unlock(&b->lock);
	return cut;
}

void breaker_answered(struct breaker *b)
{
	pthread_mutex_lock(&b->lock);
	if (--b->answering == 0)
		pthread_cond_broadcast(&b->answered);
	pthread_mutex_unlock(&b->lock);
}

bool breaker_push_begin(struct breaker *b)
{
	bool may;

	pthread_mutex_lock(&b->lock);
	may = b->errors < BREAKER_ERRORS / 2 && b->end == UINT64_MAX && b->size == UINT64_MAX;
	b->pushing += may;
	pthread_mutex_unlock(&b->lock);
	return may;
}

void breaker_push_end(struct breaker *b)
{
	pthread_mutex_lock(&b->lock);
	b->pushing--;
	pthread_mutex_unlock(&b->lock);
}

uint64_t breaker_size(struct breaker *b)
{
	uint64_t size;

	pthread_mutex_lock(&b->lock);
	size = b->size;
	pthread_mutex_unlock(&b->lock);
	return size;
}

void breaker_mend_begin(struct breaker *b)
{
	pthread_mutex_lock(&b->lock);
	b->end = UINT64_MAX;
	b->errors = 0;
	while (b->answering > 0)
		pthread_cond_wait(&b->answered, &b->lock);
	pthread_mutex_unlock(&b->lock);
}

void breaker_mend_end(struct breaker *b)
{
	pthread_mutex_lock(&b->lock);
	/* Cut again meanwhile: it stays as short as it was. */
	if (b->end == UINT64_MAX)
		b->size = UINT64_MAX;
	pthread_mutex_unlock(&b->lock);
}
