/*
 * The flat pass: the whole file, in order, through SHA-256 and SHA-384. Job: keep both hashers
 * busy while the workers decrypt the chunks ahead of them. The fingerprint and the hash of a chunk
 * are taken from the same buffer. Must end before any other read of the file.
 */
#include "fs/read/read_internal.h"

#include "crypto/base/clock.h"
#include "crypto/base/digest.h"
#include "crypto/base/thread.h"
#include "fs/read/pagecache.h"
#include "fs/read/tables.h"

#include <errno.h>
#include <string.h>

#define RING_SIZE 16
/* And one that hashes nothing, but leaves the chunks in the page cache. */
#define HASHERS_MAX 3

struct pass {
	struct read_file *file;
	size_t ring_size; /* at most RING_SIZE; reserved in the chunk cache */

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t changed;
	struct buffer *ring[RING_SIZE]; /* NULL: not loaded */
	uint64_t next;			/* chunk that the next free worker takes */
	uint64_t hashed[HASHERS_MAX];	/* chunks that each hasher has finished */
	size_t hasher_count;
	unsigned workers;
	int code; /* first failure; everybody stops */
	struct error err;
};

struct hasher {
	struct pass *pass;
	size_t number;
	enum digest_alg alg;
	uint8_t *out; /* NULL: gives the chunks to the kernel */
	pthread_t thread;
};

static void fail_locked(struct pass *p, int code, const struct error *err)
{
	if (p->code == 0) {
		p->code = code;
		if (err)
			p->err = *err;
	}
	pthread_cond_broadcast(&p->changed);
}

static uint64_t slowest(const struct pass *p)
{
	uint64_t least = p->hashed[0];

	for (size_t i = 1; i < p->hasher_count; i++)
		least = MIN(least, p->hashed[i]);
	return least;
}

static int load_one(struct pass *p, uint64_t index, struct buffer **ret, struct error *err)
{
	struct read_engine *e = p->file->engine;
	uint64_t offset = index * SEAL_CHUNK_SIZE;
	struct reader_note note;
	struct buffer *b;
	bool load, whole_extent;
	int r;

	readers_note(e->readers, &p->file->payload, offset, seal_chunk_size(p->file->seal, index),
		     monotonic_ms(), false, &note);
	whole_extent = fetch_ahead(e->fetch, &p->file->payload, &note);
	b = buffer_cache_pin(e->chunks, p->file, index, &load);

	/* Nobody else reads this file yet. */
	r = load ? file_load_chunk(p->file, index, whole_extent, b, err) : -EBUSY;
	if (load)
		buffer_cache_loaded(e->chunks, b, r, err);
	if (r < 0)
		buffer_cache_unpin(e->chunks, b, 0);
	else
		*ret = b;
	return r;
}

static void run_worker(void *arg)
{
	struct pass *p = arg;

	pthread_mutex_lock(&p->lock);
	while (p->code == 0 && p->next < p->file->payload.chunk_count) {
		struct error err = {0};
		struct buffer *b = NULL;
		uint64_t index;
		int r;

		if (p->next >= slowest(p) + p->ring_size) {
			pthread_cond_wait(&p->changed, &p->lock);
			continue;
		}
		index = p->next++;
		pthread_mutex_unlock(&p->lock);
		r = load_one(p, index, &b, &err);
		pthread_mutex_lock(&p->lock);
		p->ring[index % p->ring_size] = b;
		if (r < 0)
			fail_locked(p, r, &err);
		pthread_cond_broadcast(&p->changed);
	}
	p->workers--;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
}

/* Waits for chunk index; NULL after a failure. */
static struct buffer *next_chunk(struct pass *p, uint64_t index)
{
	struct buffer *b = NULL;

	pthread_mutex_lock(&p->lock);
	while (p->code == 0) {
		b = p->ring[index % p->ring_size];
		if (b && b->index == index)
			break;
		b = NULL;
		pthread_cond_wait(&p->changed, &p->lock);
	}
	pthread_mutex_unlock(&p->lock);
	return b;
}

static void done_with_chunk(struct pass *p, size_t hasher, struct buffer *b)
{
	pthread_mutex_lock(&p->lock);
	p->hashed[hasher]++;
	/* The last hasher gives the buffer back. Under the lock, so that no worker can have taken
	 * the ring's place yet. */
	if (slowest(p) > b->index) {
		p->ring[b->index % p->ring_size] = NULL;
		buffer_cache_unpin(p->file->engine->chunks, b, 0);
		pthread_cond_broadcast(&p->changed);
	}
	pthread_mutex_unlock(&p->lock);
}

/* Nobody can open the file before the pass has succeeded, but a file that was opened before a
 * reload may show these pages: chunk.c has compared each chunk with the hash table. */
static void *run_storer(void *arg)
{
	struct hasher *h = arg;
	struct pass *p = h->pass;
	struct pagecache *cache = p->file->engine->pagecache;
	bool more = true;

	for (uint64_t i = 0; i < p->file->payload.chunk_count; i++) {
		struct buffer *b = next_chunk(p, i);

		if (!b)
			return NULL;
		if (more)
			more = pagecache_take(cache, p->file, i, false, monotonic_ms()) == 0 &&
			       pagecache_push(cache, p->file, i, b->data, b->filled, false) == 0;
		done_with_chunk(p, h->number, b);
	}
	return NULL;
}

static int check_beginning(const struct pass *p, const struct buffer *b, struct error *err)
{
	const char *text = p->file->refused_beginning;
	size_t size = text ? strlen(text) : 0;

	if (size == 0 || b->index != 0 || b->filled < size || memcmp(b->data, text, size) != 0)
		return 0;
	return error_set(err, -ENOKEY, "the plaintext begins with \"%s\"", text);
}

static void *run_hasher(void *arg)
{
	struct hasher *h = arg;
	struct pass *p = h->pass;
	_cleanup_digest_ struct digest *d = NULL;
	struct error err = {0};
	int r = digest_new(h->alg, &d);

	for (uint64_t i = 0; r == 0 && i < p->file->payload.chunk_count; i++) {
		struct buffer *b = next_chunk(p, i);

		if (!b)
			return NULL;
		r = check_beginning(p, b, &err);
		if (r == 0)
			r = digest_update(d, b->data, b->filled);
		done_with_chunk(p, h->number, b);
	}
	if (r == 0)
		r = digest_final(d, h->out);
	if (r < 0) {
		pthread_mutex_lock(&p->lock);
		fail_locked(p, r, &err);
		pthread_mutex_unlock(&p->lock);
	}
	return NULL;
}

static int start_workers(struct pass *p, struct error *err)
{
	struct read_engine *e = p->file->engine;
	unsigned started = 0;
	int r = pool_start(e->workers, err);

	/* Held throughout: a worker that ends at once must not see the count too early. */
	pthread_mutex_lock(&p->lock);
	while (started < e->worker_count && r == 0) {
		r = pool_submit(e->workers, run_worker, p);
		if (r == 0)
			started++;
	}
	p->workers = started;
	pthread_mutex_unlock(&p->lock);
	return started > 0 ? 0 : r;
}

static void finish_pass(struct pass *p)
{
	pthread_mutex_lock(&p->lock);
	while (p->workers > 0)
		pthread_cond_wait(&p->changed, &p->lock);
	for (size_t i = 0; i < p->ring_size; i++)
		if (p->ring[i])
			buffer_cache_unpin(p->file->engine->chunks, p->ring[i], 0);
	pthread_mutex_unlock(&p->lock);
}

/* The first hasher runs here, the others beside it. */
static int run_pass(struct pass *p, struct hasher *hashers)
{
	struct error err = {0};
	size_t started = 1;
	int r = start_workers(p, &err);

	while (r == 0 && started < p->hasher_count) {
		struct hasher *h = &hashers[started];

		r = thread_start(&h->thread, h->out ? run_hasher : run_storer, h, &err);
		started += r == 0;
	}
	if (r < 0) {
		pthread_mutex_lock(&p->lock);
		fail_locked(p, r, &err);
		pthread_mutex_unlock(&p->lock);
	} else {
		run_hasher(&hashers[0]);
	}
	while (--started > 0)
		pthread_join(hashers[started].thread, NULL);
	finish_pass(p);
	return p->code;
}

static int prepare_fingerprints(struct read_file *f, struct error *err)
{
	int r;

	if (f->check != CHUNK_CHECK_FINGERPRINT)
		return 0;
	r = tables_keep(&f->engine->tables, f,
			(size_t)f->payload.chunk_count * FINGERPRINT_SIZE + ALLOWANCE_OVERHEAD,
			err);
	if (r < 0)
		return r;
	f->fingerprints =
		calloc(f->payload.chunk_count ? f->payload.chunk_count : 1, FINGERPRINT_SIZE);
	return f->fingerprints ? fingerprint_key_new(&f->fingerprint_key) : -ENOMEM;
}

int read_file_hash(struct read_file *f, uint8_t sha256[SHA256_SIZE], uint8_t sha384[SHA384_SIZE],
		   struct error *err)
{
	struct pass p = {.file = f};
	struct hasher hashers[HASHERS_MAX];
	struct buffer_cache *chunks = f->engine->chunks;
	int r = f->hashed || (!sha256 && !sha384) ? -EINVAL : prepare_fingerprints(f, err);

	if (r < 0)
		return r;
	p.ring_size = MIN((size_t)RING_SIZE, buffer_cache_count(chunks) / 4);
	if (sha256)
		hashers[p.hasher_count++] = (struct hasher){&p, 0, DIGEST_SHA256, sha256, 0};
	if (sha384) {
		hashers[p.hasher_count] =
			(struct hasher){&p, p.hasher_count, DIGEST_SHA384, sha384, 0};
		p.hasher_count++;
	}
	if (f->target) {
		hashers[p.hasher_count] = (struct hasher){.pass = &p, .number = p.hasher_count};
		p.hasher_count++;
	}
	r = buffer_cache_reserve(chunks, p.ring_size, monotonic_ms() + FETCH_WAIT_MS);
	if (r < 0)
		return r;
	readers_expect(f->engine->readers, &f->payload, monotonic_ms());
	pthread_mutex_init(&p.lock, NULL);
	pthread_cond_init(&p.changed, NULL);
	r = run_pass(&p, hashers);
	pthread_cond_destroy(&p.changed);
	pthread_mutex_destroy(&p.lock);
	buffer_cache_unreserve(chunks, p.ring_size);
	if (r == 0)
		f->hashed = true;
	else if (err && !err->code)
		*err = p.err;
	return r;
}
