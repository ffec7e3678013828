/*
 * Filling the page cache. Job: pick the next chunk that is worth it, and give it to the kernel.
 * Trusts read.c for checked plaintext. Must never be in a READ's way: no lock is held while a chunk
 * is read or pushed, and whatever fails just ends the filling.
 */
#include "fs/read/fill.h"

#include "fs/read/file.h"
#include "fs/read/monotonic.h"
#include "fs/read/room.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#define NICE 10
/* A smaller file fits the buffers, in whatever order it is read. */
#define MAP_FILE_MIN (UINT64_C(128) << 20)

struct fill {
	struct read_engine *engine;
	enum read_fill mode;
	read_store *store;
	int (*introduce)(void *target);

	pthread_mutex_t lock; /* guards what follows, and each file's struct fill_file */
	pthread_cond_t changed;
	struct read_file *files;
	pthread_t threads[FILL_THREADS_MAX];
	unsigned thread_count, working;
	bool stopping;
	uint64_t last_read_ms;
	uint64_t held_chunks; /* of all files */
	uint64_t room, room_ms;
};

int fill_new(struct read_engine *e, const struct read_engine_options *options, struct fill **ret)
{
	struct fill *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->engine = e;
	t->mode = options->store ? options->fill : READ_FILL_OFF;
	t->store = options->store;
	t->introduce = options->introduce;
	pthread_mutex_init(&t->lock, NULL);
	monotonic_cond_init(&t->changed);
	*ret = t;
	return 0;
}

void fill_stop(struct fill *t)
{
	pthread_mutex_lock(&t->lock);
	t->stopping = true;
	pthread_cond_broadcast(&t->changed);
	pthread_mutex_unlock(&t->lock);
}

bool fill_idle(struct fill *t, unsigned wait_ms)
{
	uint64_t deadline_ms = monotonic_ms() + wait_ms;
	bool idle;

	pthread_mutex_lock(&t->lock);
	while (t->working > 0 && monotonic_cond_wait(&t->changed, &t->lock, deadline_ms) == 0)
		;
	idle = t->working == 0;
	pthread_mutex_unlock(&t->lock);
	return idle;
}

void fill_free(struct fill *t)
{
	if (!t)
		return;
	fill_stop(t);
	for (unsigned i = 0; i < t->thread_count; i++)
		pthread_join(t->threads[i], NULL);
	pthread_cond_destroy(&t->changed);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

static bool is_held(const struct fill_file *s, uint64_t chunk)
{
	return s->held && (s->held[chunk / 8] >> chunk % 8 & 1) != 0;
}

static void set_held(struct fill *t, struct read_file *f, uint64_t chunk)
{
	struct fill_file *s = &f->fill;

	if (!s->held)
		s->held = calloc(1, (size_t)(f->chunk_count / 8 + 1));
	if (!s->held || is_held(s, chunk))
		return;
	s->held[chunk / 8] |= (uint8_t)(1U << chunk % 8);
	s->held_count++;
	t->held_chunks++;
}

static void unset_held(struct fill *t, struct fill_file *s, uint64_t chunk)
{
	if (!is_held(s, chunk))
		return;
	s->held[chunk / 8] &= (uint8_t) ~(1U << chunk % 8);
	s->held_count--;
	t->held_chunks--;
}

/* Memory that may still be filled; looked at now and then. Under the lock. */
static bool has_room(struct fill *t, uint64_t now_ms)
{
	if (now_ms - t->room_ms >= FILL_ROOM_MS || t->room_ms == 0) {
		t->room = room_now(t->held_chunks * SEAL_CHUNK_SIZE);
		t->room_ms = now_ms;
	}
	if (t->room < FILL_MARGIN + SEAL_CHUNK_SIZE)
		return false;
	t->room -= SEAL_CHUNK_SIZE;
	return true;
}

/* How many chunks from this one on belong to a reader; 0: none. */
static uint64_t readers_ahead(const struct fill_file *s, uint64_t chunk, uint64_t now_ms)
{
	uint64_t most = 0;

	for (unsigned i = 0; i < FILL_PLACES; i++) {
		uint64_t place = s->places[i].chunk;

		if (s->places[i].ms != 0 && now_ms - s->places[i].ms < FILL_PLACE_MS &&
		    chunk + 1 >= place && chunk < place + FILL_DISTANCE_CHUNKS)
			most = MAX(most, place + FILL_DISTANCE_CHUNKS - chunk);
	}
	return most;
}

/* The next chunk to fill; chunk_count: none now. */
static uint64_t next_chunk(struct read_file *f, uint64_t now_ms)
{
	struct fill_file *s = &f->fill;

	for (uint64_t n = 0; n < f->chunk_count;) {
		uint64_t chunk = (s->cursor + n) % f->chunk_count;
		uint64_t skip = is_held(s, chunk) ? 1 : readers_ahead(s, chunk, now_ms);

		if (skip == 0)
			return chunk;
		n += MIN(skip, f->chunk_count - chunk);
	}
	return f->chunk_count;
}

struct job {
	struct read_file *file; /* NULL: nothing to do */
	uint64_t chunk;
	bool map;
	uint64_t wait_ms; /* without a file: when to look again, 0: when something changes */
};

static struct job find_job(struct fill *t, uint64_t now_ms)
{
	bool pause = t->mode == READ_FILL_ALL || now_ms - t->last_read_ms >= FILL_AUTO_PAUSE_MS;
	struct job job = {0};

	for (struct read_file *f = t->files; f; f = f->fill.next) {
		struct fill_file *s = &f->fill;

		if (s->ended || atomic_load(&f->poisoned))
			continue;
		if (s->map_wanted) {
			s->map_wanted = false;
			return (struct job){.file = f, .map = true};
		}
		if (!s->wanted)
			continue;
		if (s->held_count == f->chunk_count) {
			s->wanted = false;
			continue;
		}
		job.wait_ms = FILL_AUTO_PAUSE_MS;
		job.chunk = pause ? next_chunk(f, now_ms) : f->chunk_count;
		if (job.chunk == f->chunk_count)
			continue;
		if (!has_room(t, now_ms))
			return (struct job){.wait_ms = FILL_FULL_MS};
		s->cursor = job.chunk + 1 == f->chunk_count ? 0 : job.chunk + 1;
		set_held(t, f, job.chunk); /* nobody else takes it */
		job.file = f;
		return job;
	}
	return job;
}

/* Once for each thread: the other's attempt may not be over yet. */
static bool may_introduce(struct fill *t, struct read_file *f)
{
	bool may;

	pthread_mutex_lock(&t->lock);
	may = t->introduce && f->fill.introductions < FILL_THREADS_MAX && !t->stopping;
	f->fill.introductions += may;
	pthread_mutex_unlock(&t->lock);
	return may;
}

static int push(struct fill *t, struct read_file *f, uint64_t offset, const uint8_t *data,
		size_t size)
{
	int r = t->store(f->target, offset, data, size);

	/* Nobody has looked it up yet, or the kernel forgot it again. */
	if (r == -ENOENT && may_introduce(t, f)) {
		r = t->introduce(f->target);
		if (r == 0)
			r = t->store(f->target, offset, data, size);
	}
	if (r == 0)
		stats_add(f->stats, STAT_FILLED_BYTES, size);
	return r;
}

static int fill_one(struct fill *t, struct read_file *f, uint64_t chunk)
{
	struct read_result result = {0};
	uint64_t offset = chunk * SEAL_CHUNK_SIZE;
	int r = read_file_background(f, offset, SEAL_CHUNK_SIZE, true, &result);

	for (size_t i = 0; r == 0 && i < result.count; i++) {
		r = push(t, f, offset, result.pieces[i].data, result.pieces[i].size);
		offset += result.pieces[i].size;
	}
	read_result_clear(&result);
	return r;
}

/* A gguf_read. */
static int read_header(void *arg, uint64_t offset, uint8_t *buf, size_t size)
{
	struct read_file *f = arg;
	struct read_result result = {0};
	int r = read_file_background(f, offset, size, false, &result);

	for (size_t i = 0; i < result.count; i++) {
		memcpy(buf, result.pieces[i].data, result.pieces[i].size);
		buf += result.pieces[i].size;
	}
	read_result_clear(&result);
	return r;
}

static void find_map(struct read_file *f)
{
	struct gguf_map *map = NULL;

	if (gguf_map_parse(read_header, f, f->length, &map) == 0)
		fetch_set_map(f->engine->fetch, f, map);
}

/* Called and left with the lock held, which is not held in between. */
static void do_job(struct fill *t, const struct job *job)
{
	struct read_file *f = job->file;
	int r = 0;

	f->fill.users++;
	t->working++;
	pthread_mutex_unlock(&t->lock);
	if (job->map)
		find_map(f);
	else
		r = fill_one(t, f, job->chunk);
	pthread_mutex_lock(&t->lock);
	if (r < 0) {
		f->fill.wanted = false;
		unset_held(t, &f->fill, job->chunk);
	}
	f->fill.users--;
	t->working--;
	pthread_cond_broadcast(&t->changed);
}

static void *run(void *arg)
{
	struct fill *t = arg;

	if (t->mode != READ_FILL_ALL)
		(void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
	pthread_mutex_lock(&t->lock);
	while (!t->stopping) {
		uint64_t now_ms = monotonic_ms();
		struct job job = find_job(t, now_ms);

		if (job.file)
			do_job(t, &job);
		else if (job.wait_ms > 0)
			(void)monotonic_cond_wait(&t->changed, &t->lock, now_ms + job.wait_ms);
		else
			pthread_cond_wait(&t->changed, &t->lock);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

static void start_threads(struct fill *t)
{
	unsigned want = t->mode == READ_FILL_ALL ? FILL_THREADS_MAX : 1;
	sigset_t all, old;

	if (t->thread_count >= want || t->stopping)
		return;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (t->thread_count < want &&
	       pthread_create(&t->threads[t->thread_count], NULL, run, t) == 0)
		t->thread_count++;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* There is work for f. Under the lock. */
static void list_file(struct fill *t, struct read_file *f)
{
	if (!f->fill.listed) {
		f->fill.listed = true;
		f->fill.next = t->files;
		t->files = f;
	}
	start_threads(t);
	pthread_cond_broadcast(&t->changed);
}

static void want(struct fill *t, struct read_file *f)
{
	if (f->fill.wanted || f->fill.held_count == f->chunk_count)
		return;
	f->fill.wanted = true;
	list_file(t, f);
}

void fill_opened(struct fill *t, struct read_file *f)
{
	pthread_mutex_lock(&t->lock);
	f->fill.introductions = 0;
	if (t->mode == READ_FILL_ALL)
		want(t, f);
	pthread_mutex_unlock(&t->lock);
}

static void note_place(struct fill_file *s, uint64_t chunk, uint64_t now_ms)
{
	for (unsigned i = 0; i < FILL_PLACES; i++)
		if (s->places[i].ms != 0 && chunk >= s->places[i].chunk &&
		    chunk - s->places[i].chunk < FILL_DISTANCE_CHUNKS / 2) {
			s->places[i].chunk = chunk;
			s->places[i].ms = now_ms;
			return;
		}
	s->place = (s->place + 1) % FILL_PLACES;
	s->places[s->place].chunk = chunk;
	s->places[s->place].ms = now_ms;
}

bool fill_note(struct fill *t, struct read_file *f, uint64_t offset, uint64_t size)
{
	struct fill_file *s = &f->fill;
	uint64_t chunk = offset / SEAL_CHUNK_SIZE, end = offset + size;
	bool jumped;

	if (t->mode == READ_FILL_OFF && !f->by_extents)
		return false;
	pthread_mutex_lock(&t->lock);
	jumped = t->mode != READ_FILL_OFF && offset != s->last_end;
	s->last_end = end;
	t->last_read_ms = monotonic_ms();
	s->read_bytes += size;
	/* Whoever is past the first chunk, and not just at the tail, is reading the model. */
	if (f->by_extents && !s->map_tried && f->length >= MAP_FILE_MIN && chunk > 0 &&
	    chunk + 1 < f->chunk_count) {
		s->map_tried = s->map_wanted = true;
		list_file(t, f);
	}
	if (t->mode != READ_FILL_OFF) {
		note_place(s, chunk, t->last_read_ms);
		/* A chunk's end comes last, in whatever pieces the kernel asks for it. */
		for (;
		     MIN((chunk + 1) * SEAL_CHUNK_SIZE, f->length) <= end && chunk < f->chunk_count;
		     chunk++)
			set_held(t, f, chunk);
	}
	if (t->mode == READ_FILL_AUTO && f->by_extents && s->read_bytes >= FILL_AUTO_READ_BYTES)
		want(t, f);
	pthread_mutex_unlock(&t->lock);
	return jumped;
}

/* with_rest: and the rest of the file must have room, too. */
static bool give(struct fill *t, struct read_file *f, uint64_t index, const uint8_t *data,
		 size_t size, bool with_rest)
{
	bool room;

	if (t->mode == READ_FILL_OFF)
		return false;
	pthread_mutex_lock(&t->lock);
	room = !t->stopping && !f->fill.ended && has_room(t, monotonic_ms());
	if (with_rest)
		room = room && t->room >= FILL_MARGIN + (f->chunk_count - f->fill.held_count) *
								SEAL_CHUNK_SIZE;
	pthread_mutex_unlock(&t->lock);
	if (!room || t->store(f->target, index * SEAL_CHUNK_SIZE, data, size) < 0)
		return false;
	stats_add(f->stats, STAT_FILLED_BYTES, size);
	pthread_mutex_lock(&t->lock);
	set_held(t, f, index);
	pthread_mutex_unlock(&t->lock);
	return true;
}

bool fill_chunk(struct fill *t, struct read_file *f, uint64_t index, const uint8_t *data,
		size_t size)
{
	return give(t, f, index, data, size, false);
}

bool fill_rest(struct fill *t, struct read_file *f, uint64_t index, const uint8_t *data,
	       size_t size)
{
	return give(t, f, index, data, size, true);
}

void fill_forget(struct fill *t, struct read_file *f)
{
	struct fill_file *s = &f->fill;

	pthread_mutex_lock(&t->lock);
	s->ended = true;
	while (s->users > 0)
		pthread_cond_wait(&t->changed, &t->lock);
	for (struct read_file **p = &t->files; *p; p = &(*p)->fill.next)
		if (*p == f) {
			*p = s->next;
			break;
		}
	t->held_chunks -= s->held_count;
	pthread_mutex_unlock(&t->lock);
	free(s->held);
}
