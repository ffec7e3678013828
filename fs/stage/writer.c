/*
 * The stage's writer. Job: write ciphertext to the disk asynchronously, in large writes, with a
 * fixed amount of memory. It copies, so no caller must keep a buffer alive. Must never slow readers
 * down to the speed of the disk.
 */
#include "fs/stage/writer.h"

#include "crypto/base/clock.h"
#include "crypto/base/pool.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

/* For each payload, the total time that readers wait for a buffer, so that the first reader stages
 * a small payload completely. */
#define PATIENCE_MS 500
/* How long the end waits for unwritten data. */
#define DRAIN_MS 3000

struct slot {
	struct stage_writer *writer;
	uint8_t *data; /* SEAL_EXTENT_SIZE */
	struct slot *next;
	struct stage_payload *payload;
	uint64_t offset;
	size_t size;
};

struct stage_writer {
	struct stage *stage;
	struct pool *thread; /* one: stage_store() */
	uint8_t *memory;
	size_t count;
	struct slot *slots;
	atomic_ullong end_ms; /* after that nothing is written; 0: not ending */

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t room;
	struct slot *idle;
};

static void put_idle(struct stage_writer *w, struct slot *slot)
{
	pthread_mutex_lock(&w->lock);
	slot->next = w->idle;
	w->idle = slot;
	pthread_cond_signal(&w->room);
	pthread_mutex_unlock(&w->lock);
}

static void write_slot(void *arg)
{
	struct slot *slot = arg;
	struct stage_writer *w = slot->writer;
	uint64_t end_ms = atomic_load(&w->end_ms);

	if (end_ms == 0 || monotonic_ms() < end_ms)
		stage_store(w->stage, slot->payload, slot->offset, slot->size, slot->data);
	put_idle(w, slot);
}

static int start(struct stage_writer *w, size_t memory_bytes, struct error *err)
{
	int r = pool_new(1, &w->thread);

	w->count = MAX(memory_bytes / SEAL_EXTENT_SIZE, (size_t)1);
	w->slots = calloc(w->count, sizeof(*w->slots));
	/* Pages come with the first write to them. */
	w->memory = mmap(NULL, w->count * SEAL_EXTENT_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (w->memory == MAP_FAILED)
		w->memory = NULL;
	if (r < 0 || !w->slots || !w->memory)
		return -ENOMEM;
	for (size_t i = w->count; i-- > 0;) {
		w->slots[i].writer = w;
		w->slots[i].data = w->memory + i * SEAL_EXTENT_SIZE;
		put_idle(w, &w->slots[i]);
	}
	return pool_start(w->thread, err);
}

int stage_writer_new(struct stage *s, size_t memory_bytes, struct stage_writer **ret,
		     struct error *err)
{
	struct stage_writer *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	w->stage = s;
	pthread_mutex_init(&w->lock, NULL);
	monotonic_cond_init(&w->room);
	r = start(w, memory_bytes, err);
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
	atomic_store(&w->end_ms, monotonic_ms() + DRAIN_MS);
	pool_free(w->thread);
	if (w->memory)
		munmap(w->memory, w->count * SEAL_EXTENT_SIZE);
	free(w->slots);
	pthread_cond_destroy(&w->room);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

/* NULL: none became free in the time that the payload has left. */
static struct slot *take_idle(struct stage_writer *w, struct stage_payload *p)
{
	uint64_t start_ms = monotonic_ms();
	struct slot *slot;

	pthread_mutex_lock(&w->lock);
	if (!w->idle && p->waited_ms < PATIENCE_MS && !stage_is_paused(w->stage)) {
		while (!w->idle && monotonic_cond_wait(&w->room, &w->lock,
						       start_ms + PATIENCE_MS - p->waited_ms) == 0)
			;
		p->waited_ms += monotonic_ms() - start_ms;
	}
	slot = w->idle;
	if (slot)
		w->idle = slot->next;
	pthread_mutex_unlock(&w->lock);
	return slot;
}

void stage_writer_offer(struct stage_writer *w, struct stage_payload *p, uint64_t offset,
			size_t size, const uint8_t *data)
{
	struct slot *slot = take_idle(w, p);

	if (slot) {
		memcpy(slot->data, data, size);
		slot->payload = p;
		slot->offset = offset;
		slot->size = size;
		if (pool_submit(w->thread, write_slot, slot) == 0)
			return;
		put_idle(w, slot);
	}
	atomic_fetch_add(&w->stage->counters.skipped_bytes, size);
}
