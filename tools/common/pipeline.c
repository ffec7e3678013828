/*
 * The stages' scheduler. Job: give each piece to each stage as early as its order allows, and stop
 * everything at the first failure. One lock guards all bookkeeping and is never held while a stage
 * runs. Trusts the stages to touch only their piece. Must never reuse a buffer before every stage
 * has finished with it.
 */
#include "tools/common/pipeline.h"

#include "crypto/base/digest.h"
#include "crypto/base/locked.h"
#include "crypto/base/pool.h"
#include "tools/common/interrupt.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

struct buffer {
	uint8_t *data;
	bool used;
	uint64_t extent;
	unsigned chunk_count; /* of this extent; all it has room for while the end is unknown */
	unsigned done[PIPELINE_STAGES_MAX]; /* chunks that the stage has finished */
	uint8_t *chunk_done;		    /* for each chunk: bit i: stage i has finished it */
};

struct stage {
	pthread_cond_t ready;
	uint64_t next; /* piece to start next */
};

struct pipeline {
	const struct pipeline_options *o;
	unsigned chunks_per_extent;
	pthread_mutex_t lock; /* guards all below */
	uint64_t length;      /* PIPELINE_LENGTH_UNKNOWN until the end was seen */
	struct buffer *buffers;
	struct stage stages[PIPELINE_STAGES_MAX];
	bool failed;
	int code;
	struct error error;
};

struct worker {
	struct pipeline *p;
	unsigned stage;
	unsigned thread;
	pthread_t id;
};

static uint64_t chunks_of(uint64_t length)
{
	return length == PIPELINE_LENGTH_UNKNOWN ? UINT64_MAX
						 : (length + SEAL_CHUNK_SIZE - 1) / SEAL_CHUNK_SIZE;
}

/* Pieces that the stage has to do; UINT64_MAX while unknown. */
static uint64_t piece_count(const struct pipeline *p, unsigned s)
{
	uint64_t chunks = chunks_of(p->length), per = p->chunks_per_extent;

	if (chunks == UINT64_MAX || p->o->stages[s].unit == PIPELINE_CHUNK)
		return chunks;
	return (chunks + per - 1) / per;
}

static uint64_t extent_of(const struct pipeline *p, unsigned s, uint64_t piece)
{
	return p->o->stages[s].unit == PIPELINE_CHUNK ? piece / p->chunks_per_extent : piece;
}

static struct buffer *find_buffer(struct pipeline *p, uint64_t extent)
{
	for (unsigned i = 0; i < p->o->buffers; i++)
		if (p->buffers[i].used && p->buffers[i].extent == extent)
			return &p->buffers[i];
	return NULL;
}

static struct buffer *take_buffer(struct pipeline *p, uint64_t extent)
{
	uint64_t chunks = chunks_of(p->length), first = extent * p->chunks_per_extent;

	for (unsigned i = 0; i < p->o->buffers; i++) {
		struct buffer *b = &p->buffers[i];

		if (b->used)
			continue;
		b->used = true;
		b->extent = extent;
		b->chunk_count = (unsigned)MIN(chunks - first, (uint64_t)p->chunks_per_extent);
		memset(b->done, 0, sizeof(b->done));
		memset(b->chunk_done, 0, p->chunks_per_extent);
		return b;
	}
	return NULL;
}

/* The buffer of the stage's next piece if that can be started now. */
static struct buffer *next_ready(struct pipeline *p, unsigned s)
{
	const struct pipeline_stage *stage = &p->o->stages[s];
	uint64_t piece = p->stages[s].next;
	struct buffer *b = find_buffer(p, extent_of(p, s, piece));

	if (s == 0)
		return b ? b : take_buffer(p, extent_of(p, s, piece));
	if (!b)
		return NULL;
	if (stage->unit == PIPELINE_CHUNK)
		return (b->chunk_done[piece % p->chunks_per_extent] & stage->after) == stage->after
			       ? b
			       : NULL;
	for (unsigned t = 0; t < s; t++)
		if ((stage->after & 1U << t) && b->done[t] < b->chunk_count)
			return NULL;
	return b;
}

static void wake_all(struct pipeline *p)
{
	for (unsigned s = 0; s < p->o->stage_count; s++)
		pthread_cond_broadcast(&p->stages[s].ready);
}

/* With the lock held. */
static void fail(struct pipeline *p, int code, const struct error *err)
{
	if (p->failed)
		return;
	p->failed = true;
	p->code = code;
	p->error = *err;
	wake_all(p);
	if (p->o->on_failure)
		p->o->on_failure(p->o->ctx);
}

static struct pipeline_piece describe(const struct pipeline *p, unsigned s, uint64_t index,
				      const struct buffer *b)
{
	bool chunk = p->o->stages[s].unit == PIPELINE_CHUNK;
	size_t unit = chunk ? SEAL_CHUNK_SIZE : p->o->extent_size;
	uint64_t offset = index * unit;

	return (struct pipeline_piece){
		.index = index,
		.offset = offset,
		.data = b->data + (chunk ? index % p->chunks_per_extent * SEAL_CHUNK_SIZE : 0),
		.size = (size_t)MIN(p->length - offset, (uint64_t)unit),
	};
}

/* The fill stage saw the end: all counts become known. */
static void set_end(struct pipeline *p, struct buffer *b, uint64_t length)
{
	uint64_t first = b->extent * p->chunks_per_extent;

	p->length = length;
	b->chunk_count = (unsigned)(chunks_of(length) - first);
	if (b->chunk_count == 0)
		b->used = false;
	wake_all(p);
}

static void mark_done(struct pipeline *p, unsigned s, uint64_t index, struct buffer *b)
{
	bool through = true;

	if (p->o->stages[s].unit == PIPELINE_CHUNK) {
		b->chunk_done[index % p->chunks_per_extent] |= (uint8_t)(1U << s);
		b->done[s]++;
	} else {
		for (unsigned c = 0; c < b->chunk_count; c++)
			b->chunk_done[c] |= (uint8_t)(1U << s);
		b->done[s] = b->chunk_count;
	}
	for (unsigned t = 0; t < p->o->stage_count; t++) {
		/* Not for each of the pieces it still has to wait for: that cost two switches each.
		 */
		if ((p->o->stages[t].after & 1U << s) && next_ready(p, t))
			pthread_cond_signal(&p->stages[t].ready);
		through = through && b->done[t] == b->chunk_count;
	}
	if (through) {
		b->used = false;
		pthread_cond_signal(&p->stages[0].ready);
	}
}

/* Waits for a piece, with the lock held. NULL: nothing is left to do. */
static struct buffer *await_piece(struct pipeline *p, unsigned s, uint64_t *index)
{
	struct stage *stage = &p->stages[s];
	struct buffer *b = NULL;

	while (!p->failed && stage->next < piece_count(p, s)) {
		b = next_ready(p, s);
		if (b)
			break;
		pthread_cond_wait(&stage->ready, &p->lock);
	}
	if (!b)
		return NULL;
	*index = stage->next++;
	/* The next piece may be ready, too, or none may be left: wake another thread. */
	if (p->o->stages[s].threads > 1)
		pthread_cond_signal(&stage->ready);
	return b;
}

static void *work(void *arg)
{
	const struct worker *w = arg;
	struct pipeline *p = w->p;
	const struct pipeline_stage *stage = &p->o->stages[w->stage];
	struct buffer *b;
	uint64_t index;

	pthread_mutex_lock(&p->lock);
	while ((b = await_piece(p, w->stage, &index))) {
		struct pipeline_piece piece = describe(p, w->stage, index, b);
		struct error err = {0};
		int r;

		piece.thread = w->thread;
		pthread_mutex_unlock(&p->lock);
		r = stage->run(stage->arg ? stage->arg : p->o->ctx, &piece, &err);
		pthread_mutex_lock(&p->lock);
		if (r < 0) {
			fail(p, r, &err);
			break;
		}
		if (w->stage == 0 && p->length == PIPELINE_LENGTH_UNKNOWN && (size_t)r < piece.size)
			set_end(p, b, piece.offset + (uint64_t)r);
		if (b->used)
			mark_done(p, w->stage, index, b);
	}
	pthread_cond_broadcast(&p->stages[w->stage].ready);
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static int start_workers(struct pipeline *p, struct worker *workers, unsigned *count)
{
	for (unsigned s = 0; s < p->o->stage_count; s++)
		for (unsigned t = 0; t < p->o->stages[s].threads; t++) {
			struct worker *w = &workers[*count];
			int r;

			*w = (struct worker){.p = p, .stage = s, .thread = t};
			r = pthread_create(&w->id, NULL, work, w);
			if (r != 0)
				return -r;
			(*count)++;
		}
	return 0;
}

unsigned pipeline_threads(void)
{
	unsigned cpus = cpu_count();

	return MIN(cpus, PIPELINE_THREADS_MAX);
}

int pipeline_run(struct pipeline *p, struct error *err)
{
	_cleanup_free_ struct worker *workers = NULL;
	unsigned count = 0;
	int r;

	workers = calloc((size_t)p->o->stage_count * PIPELINE_THREADS_MAX, sizeof(*workers));
	if (!workers)
		return -ENOMEM;
	r = start_workers(p, workers, &count);
	if (r < 0)
		pipeline_cancel(p, r, "cannot start a thread");
	for (unsigned i = 0; i < count; i++)
		pthread_join(workers[i].id, NULL);
	if (p->failed && err && !err->code)
		*err = p->error;
	return p->failed ? p->code : 0;
}

void pipeline_cancel(struct pipeline *p, int code, const char *message)
{
	struct error err = {0};

	error_set(&err, code, "%s", message);
	pthread_mutex_lock(&p->lock);
	fail(p, code, &err);
	pthread_mutex_unlock(&p->lock);
}

uint64_t pipeline_length(const struct pipeline *p)
{
	return p->length;
}

static int allocate(struct pipeline *p)
{
	p->buffers = calloc(p->o->buffers, sizeof(*p->buffers));
	if (!p->buffers)
		return -ENOMEM;
	for (unsigned i = 0; i < p->o->buffers; i++) {
		struct buffer *b = &p->buffers[i];
		/* Pages are taken only when touched: a small file costs little. They are locked
		 * within the limit; the rest is acceptable because the plaintext is also in a file
		 * on this machine. */
		void *data = locked_map(p->o->extent_size, NULL);

		if (!data)
			return -ENOMEM;
		(void)madvise(data, p->o->extent_size, MADV_HUGEPAGE);
		b->data = data;
		b->chunk_done = calloc(p->chunks_per_extent, 1);
		if (!b->chunk_done)
			return -ENOMEM;
	}
	return 0;
}

int pipeline_new(const struct pipeline_options *options, struct pipeline **ret)
{
	struct pipeline *p;
	int r;

	if (options->buffers == 0 || options->extent_size == 0 ||
	    options->extent_size % SEAL_CHUNK_SIZE != 0 || options->stage_count == 0 ||
	    options->stage_count > PIPELINE_STAGES_MAX)
		return -EINVAL;
	for (unsigned s = 0; s < options->stage_count; s++)
		if (options->stages[s].threads == 0 ||
		    options->stages[s].threads > PIPELINE_THREADS_MAX ||
		    (options->stages[s].after == 0) != (s == 0) ||
		    options->stages[s].after >> s != 0)
			return -EINVAL;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->o = options;
	p->length = options->length;
	p->chunks_per_extent = (unsigned)(options->extent_size / SEAL_CHUNK_SIZE);
	pthread_mutex_init(&p->lock, NULL);
	for (unsigned s = 0; s < options->stage_count; s++)
		pthread_cond_init(&p->stages[s].ready, NULL);
	r = allocate(p);
	if (r < 0) {
		pipeline_free(p);
		return r;
	}
	*ret = p;
	return 0;
}

void pipeline_free(struct pipeline *p)
{
	if (!p)
		return;
	for (unsigned i = 0; p->buffers && i < p->o->buffers; i++) {
		if (p->buffers[i].data)
			munmap(p->buffers[i].data, p->o->extent_size);
		free(p->buffers[i].chunk_done);
	}
	for (unsigned s = 0; s < p->o->stage_count; s++)
		pthread_cond_destroy(&p->stages[s].ready);
	pthread_mutex_destroy(&p->lock);
	free(p->buffers);
	free(p);
}

int pipeline_hash(void *digest, const struct pipeline_piece *piece, struct error *err)
{
	return digest_update(digest, piece->data, piece->size);
}

static void on_interrupt(void *ctx)
{
	pipeline_cancel(ctx, -EINTR, "interrupted");
}

int pipeline_do(const struct pipeline_options *options, uint64_t *ret_length, struct error *err)
{
	_cleanup_(pipeline_freep) struct pipeline *p = NULL;
	int r = pipeline_new(options, &p);

	if (r == 0)
		r = interrupt_hook(on_interrupt, p);
	if (r < 0)
		return r;
	r = pipeline_run(p, err);
	interrupt_unhook(on_interrupt, p);
	if (ret_length)
		*ret_length = pipeline_length(p);
	return r;
}
