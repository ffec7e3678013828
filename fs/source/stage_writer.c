/*
 * The stage's writer. Job: get ciphertext to the disk behind the readers' backs, in large writes,
 * with a fixed amount of memory. Trusts nobody to keep a buffer alive: it copies. Must never make
 * readers go as slowly as the disk.
 */
#include "fs/source/stage_writer.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

/* For each object, how long readers wait in all for a buffer, so that what is not large is staged
 * whole by the first one who reads it. */
#define PATIENCE_MS 500
/* What waits to be written at the end gets so long. */
#define DRAIN_MS 3000

struct slot {
	uint8_t *data; /* SEAL_EXTENT_SIZE */
	struct slot *next;
	struct stage_file *file; /* held */
	uint64_t offset;
	size_t size;
};

struct stage_writer {
	struct stage *stage;
	uint8_t *memory;
	size_t count;
	struct slot *slots;
	pthread_t thread;
	bool started;

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t work;
	pthread_cond_t room;
	struct slot *idle, *first, **last; /* first: the oldest that waits */
	bool ending;
	int64_t end_ms;
};

static int64_t now_ms(void)
{
	struct timespec now = {0};

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static struct slot *next_slot(struct stage_writer *w)
{
	struct slot *slot;

	pthread_mutex_lock(&w->lock);
	while (!w->first && !w->ending)
		pthread_cond_wait(&w->work, &w->lock);
	slot = w->ending && now_ms() >= w->end_ms ? NULL : w->first;
	if (slot) {
		w->first = slot->next;
		if (!w->first)
			w->last = &w->first;
	}
	pthread_mutex_unlock(&w->lock);
	return slot;
}

static void put_idle(struct stage_writer *w, struct slot *slot)
{
	pthread_mutex_lock(&w->lock);
	slot->next = w->idle;
	w->idle = slot;
	pthread_cond_signal(&w->room);
	pthread_mutex_unlock(&w->lock);
}

static void *run(void *arg)
{
	struct stage_writer *w = arg;
	struct slot *slot;

	while ((slot = next_slot(w))) {
		stage_store(w->stage, slot->file, slot->offset, slot->size, slot->data);
		stage_release(w->stage, slot->file);
		put_idle(w, slot);
	}
	return NULL;
}

static int writer_start(struct stage_writer *w, size_t memory_bytes)
{
	w->count = MAX(memory_bytes / SEAL_EXTENT_SIZE, (size_t)1);
	w->slots = calloc(w->count, sizeof(*w->slots));
	/* Pages come with the first write to them. */
	w->memory = mmap(NULL, w->count * SEAL_EXTENT_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (w->memory == MAP_FAILED)
		w->memory = NULL;
	if (!w->slots || !w->memory)
		return -ENOMEM;
	for (size_t i = w->count; i-- > 0;) {
		w->slots[i].data = w->memory + i * SEAL_EXTENT_SIZE;
		w->slots[i].next = w->idle;
		w->idle = &w->slots[i];
	}
	w->started = pthread_create(&w->thread, NULL, run, w) == 0;
	return w->started ? 0 : -EAGAIN;
}

int stage_writer_new(struct stage *s, size_t memory_bytes, struct stage_writer **ret)
{
	struct stage_writer *w = calloc(1, sizeof(*w));
	pthread_condattr_t attributes;
	int r;

	if (!w)
		return -ENOMEM;
	w->stage = s;
	w->last = &w->first;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->work, NULL);
	(void)pthread_condattr_init(&attributes);
	(void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&w->room, &attributes);
	(void)pthread_condattr_destroy(&attributes);
	r = writer_start(w, memory_bytes);
	if (r < 0) {
		stage_writer_free(w);
		return r;
	}
	*ret = w;
	return 0;
}

void stage_writer_free(struct stage_writer *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->ending = true;
	w->end_ms = now_ms() + DRAIN_MS;
	pthread_cond_signal(&w->work);
	pthread_mutex_unlock(&w->lock);
	if (w->started)
		pthread_join(w->thread, NULL);
	for (struct slot *slot = w->first; slot; slot = slot->next)
		stage_release(w->stage, slot->file);
	if (w->memory)
		munmap(w->memory, w->count * SEAL_EXTENT_SIZE);
	free(w->slots);
	pthread_cond_destroy(&w->room);
	pthread_cond_destroy(&w->work);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

/* Under the lock. NULL: none became free in the time that the object has left. */
static struct slot *take_idle(struct stage_writer *w, struct stage_file *f)
{
	int64_t start_ms = now_ms(), end_ms = start_ms + PATIENCE_MS - f->waited_ms;
	const struct timespec end = {.tv_sec = end_ms / 1000, .tv_nsec = end_ms % 1000 * 1000000};
	struct slot *slot;

	if (!w->idle && f->waited_ms < PATIENCE_MS && !stage_is_paused(w->stage)) {
		while (!w->idle && pthread_cond_timedwait(&w->room, &w->lock, &end) == 0)
			;
		f->waited_ms += now_ms() - start_ms;
	}
	slot = w->idle;
	if (slot)
		w->idle = slot->next;
	return slot;
}

/* At most what fits a slot, within one extent. */
static bool offer_piece(struct stage_writer *w, struct stage_file *f, uint64_t offset, size_t size,
			const uint8_t *data)
{
	struct slot *slot;

	pthread_mutex_lock(&w->lock);
	slot = take_idle(w, f);
	pthread_mutex_unlock(&w->lock);
	if (!slot)
		return false;
	memcpy(slot->data, data, size);
	slot->file = f;
	slot->offset = offset;
	slot->size = size;
	slot->next = NULL;
	pthread_mutex_lock(&w->lock);
	*w->last = slot;
	w->last = &slot->next;
	pthread_cond_signal(&w->work);
	pthread_mutex_unlock(&w->lock);
	return true;
}

bool stage_writer_offer(struct stage_writer *w, struct stage_file *f, uint64_t offset, size_t size,
			const uint8_t *data)
{
	while (size > 0) {
		size_t piece = MIN(size, (size_t)(SEAL_EXTENT_SIZE - offset % SEAL_EXTENT_SIZE));

		stage_hold(w->stage, f);
		if (!offer_piece(w, f, offset, piece, data)) {
			stage_release(w->stage, f);
			atomic_fetch_add(&w->stage->counters.skipped_bytes, size);
			return false;
		}
		offset += piece;
		data += piece;
		size -= piece;
	}
	return true;
}
