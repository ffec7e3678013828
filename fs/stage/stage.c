/*
 * The extents of a stage. Job: track which chunks are on the disk, make room for new ones, and drop
 * bad ones. Trusts no copy: the table only decides whether to read it. Must never use more room
 * than its limit, and never fail a reader.
 */
#include "fs/stage/stage.h"

#include "crypto/base/clock.h"
#include "fs/stage/folder.h"

#include <errno.h>
#include <search.h>
#include <string.h>
#include <sys/statvfs.h>

/* After that long a disk that was full or failed is tried again. */
#define PAUSE_MS 300000

static int compare_keys(const void *a, const void *b)
{
	const struct extent_key *x = a, *y = b;

	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

static struct stage_extent *find(const struct stage *s, const struct extent_key *key)
{
	struct stage_extent *const *node = tfind(key, &s->extents, compare_keys);

	return node ? *node : NULL;
}

/* Takes e over when it returns 0. -EEXIST, -ENOMEM. */
static int insert(struct stage *s, struct stage_extent *e)
{
	struct stage_extent *const *node = tsearch(e, &s->extents, compare_keys);

	if (!node || *node != e)
		return node ? -EEXIST : -ENOMEM;
	TAILQ_INSERT_TAIL(&s->by_use, e, use);
	s->count++;
	s->used += e->bytes;
	return 0;
}

/* To be freed by the caller. */
static void take_out(struct stage *s, struct stage_extent *e)
{
	(void)tdelete(e, &s->extents, compare_keys);
	TAILQ_REMOVE(&s->by_use, e, use);
	s->count--;
	s->used -= e->bytes;
	atomic_store(&s->counters.staged_bytes, s->used);
}

struct stage_payload *stage_payload_find(struct stage *s, uint64_t id)
{
	struct stage_payload *p;

	pthread_mutex_lock(&s->lock);
	for (p = s->payloads; p && p->id != id; p = p->next)
		;
	pthread_mutex_unlock(&s->lock);
	return p;
}

struct stage_payload *stage_attach(struct stage *s, uint64_t id, uint64_t size)
{
	struct stage_payload *p;

	pthread_mutex_lock(&s->lock);
	for (p = s->payloads; p && (p->id != id || p->size != size); p = p->next)
		;
	if (!p && (p = calloc(1, sizeof(*p)))) {
		*p = (struct stage_payload){.id = id, .size = size, .next = s->payloads};
		s->payloads = p;
	}
	pthread_mutex_unlock(&s->lock);
	return p;
}

size_t stage_look(struct stage *s, const struct stage_payload *p, uint64_t offset, size_t size,
		  struct stage_place *ret)
{
	uint64_t at = offset % SEAL_EXTENT_SIZE, end = MIN(at + size, (uint64_t)SEAL_EXTENT_SIZE);
	unsigned chunk = (unsigned)(at / SEAL_CHUNK_SIZE), next = chunk + 1;
	struct stage_extent *e;
	uint16_t chunks;

	*ret = (struct stage_place){.key = {p->id, (uint32_t)(offset / SEAL_EXTENT_SIZE)}};
	pthread_mutex_lock(&s->lock);
	e = find(s, &ret->key);
	chunks = e ? e->chunks : 0;
	while (next * (uint64_t)SEAL_CHUNK_SIZE < end &&
	       (chunks >> next & 1) == (chunks >> chunk & 1))
		next++;
	if (chunks >> chunk & 1) {
		ret->chunks = chunks;
		ret->touch = !e->touched;
		e->touched = true;
		TAILQ_REMOVE(&s->by_use, e, use);
		TAILQ_INSERT_TAIL(&s->by_use, e, use);
	}
	pthread_mutex_unlock(&s->lock);
	return (size_t)(MIN(end, next * (uint64_t)SEAL_CHUNK_SIZE) - at);
}

int stage_read(struct stage *s, const struct stage_place *at, uint64_t offset, size_t size,
	       uint8_t *buf)
{
	return extent_read(s->dir_fd, &at->key, at->chunks, offset, size, at->touch, buf);
}

void stage_drop(struct stage *s, const struct stage_place *at)
{
	struct stage_extent *e;

	pthread_mutex_lock(&s->lock);
	e = find(s, &at->key);
	if (e && e->chunks == at->chunks)
		take_out(s, e);
	else
		e = NULL;
	pthread_mutex_unlock(&s->lock);
	if (e)
		extent_remove(s->dir_fd, &at->key, at->chunks);
	free(e);
}

/* What was not used for longest, but for extents of this payload (NULL: no exception). To be freed.
 */
static struct stage_extent *take_oldest(struct stage *s, const struct stage_payload *except)
{
	struct stage_extent *e;

	TAILQ_FOREACH(e, &s->by_use, use)
	if (!except || e->key.id != except->id)
		break;
	if (e)
		take_out(s, e);
	return e;
}

/*
 * False: there is no room, and none can be made. A payload never evicts its own extents: one that
 * is larger than the stage would be rewritten in each pass, without a single hit.
 */
static bool reserve(struct stage *s, const struct stage_payload *p, uint64_t bytes)
{
	struct stage_extent *e;
	bool fits;

	pthread_mutex_lock(&s->lock);
	while (!(fits = s->used + bytes <= s->limit && s->count < STAGE_EXTENTS_MAX) &&
	       (e = take_oldest(s, p))) {
		pthread_mutex_unlock(&s->lock);
		extent_remove(s->dir_fd, &e->key, e->chunks);
		atomic_fetch_add(&s->counters.evicted_bytes, e->bytes);
		free(e);
		pthread_mutex_lock(&s->lock);
	}
	if (fits)
		s->used += bytes;
	atomic_store(&s->counters.staged_bytes, s->used);
	pthread_mutex_unlock(&s->lock);
	return fits;
}

static void stage_trouble(struct stage *s, int code)
{
	_cleanup_free_ char *text = NULL;

	atomic_store(&s->paused_until_ms, monotonic_ms() + PAUSE_MS);
	if (atomic_exchange(&s->trouble_told, true) || !s->notice)
		return;
	if (asprintf(&text,
		     "stage %s: %s; models are read without it, nothing more is staged for now",
		     s->path, strerror(-code)) >= 0)
		s->notice(s->notice_arg, text);
}

bool stage_is_paused(const struct stage *s)
{
	return monotonic_ms() < atomic_load(&s->paused_until_ms);
}

static uint64_t blocks(size_t size)
{
	return (size + STAGE_BLOCK_SIZE - 1) / STAGE_BLOCK_SIZE * STAGE_BLOCK_SIZE;
}

/* The chunks of an extent that a range of it touches. */
static uint16_t chunk_mask(uint64_t offset, size_t size)
{
	uint64_t first = offset / SEAL_CHUNK_SIZE, last = (offset + size - 1) / SEAL_CHUNK_SIZE;
	unsigned mask = (2U << (last - first)) - 1;

	return (uint16_t)(mask << first % STAGE_CHUNKS);
}

static uint16_t chunks_here(struct stage *s, const struct extent_key *key)
{
	const struct stage_extent *e;
	uint16_t chunks;

	pthread_mutex_lock(&s->lock);
	e = find(s, key);
	chunks = e ? e->chunks : 0;
	pthread_mutex_unlock(&s->lock);
	return chunks;
}

/* Takes e over, whose file has been written and replaces one that held `have`. Gives the reserved
 * bytes back. */
static void note_stored(struct stage *s, struct stage_extent *e, uint16_t have, uint64_t reserved)
{
	struct stage_place now = {.key = e->key, .chunks = e->chunks};
	struct stage_extent *old;
	bool kept = false;

	pthread_mutex_lock(&s->lock);
	s->used -= reserved;
	old = find(s, &now.key);
	/* Else a reader has dropped it meanwhile. */
	if ((old ? old->chunks : 0) == have) {
		if (old)
			take_out(s, old);
		kept = insert(s, e) == 0;
	} else {
		old = NULL;
	}
	atomic_store(&s->counters.staged_bytes, s->used);
	pthread_mutex_unlock(&s->lock);
	free(old);
	if (kept)
		return;
	free(e);
	extent_remove(s->dir_fd, &now.key, now.chunks);
}

/* Into a file that holds `have` already. Room for the bytes is reserved. */
static int store(struct stage *s, const struct extent_key *key, uint16_t have, uint64_t offset,
		 size_t size, uint8_t *data)
{
	uint16_t add = chunk_mask(offset, size);
	struct stage_extent *e = calloc(1, sizeof(*e));
	int r = -ENOMEM;

	if (e) {
		*e = (struct stage_extent){.key = *key, .chunks = have | add, .touched = true};
		r = extent_add(s->dir_fd, key, have, add, offset, size, data, &e->bytes);
	}
	if (r == 0) {
		note_stored(s, e, have, blocks(size));
		return 0;
	}
	free(e);
	stage_drop(s, &(struct stage_place){.key = *key, .chunks = have});
	pthread_mutex_lock(&s->lock);
	s->used -= blocks(size);
	atomic_store(&s->counters.staged_bytes, s->used);
	pthread_mutex_unlock(&s->lock);
	return r;
}

void stage_store(struct stage *s, const struct stage_payload *p, uint64_t offset, size_t size,
		 uint8_t *data)
{
	const struct extent_key key = {p->id, (uint32_t)(offset / SEAL_EXTENT_SIZE)};
	uint16_t have = chunks_here(s, &key), missing = chunk_mask(offset, size) & (uint16_t)~have;
	size_t fits = stage_is_paused(s) ? 0 : size;
	int r;

	if (!missing)
		return;
	/* Of an extent that is larger than the free room, the chunks at its start. */
	while (fits > 0 && !reserve(s, p, blocks(fits)))
		fits = (fits - 1) / SEAL_CHUNK_SIZE * SEAL_CHUNK_SIZE;
	atomic_fetch_add(&s->counters.skipped_bytes, size - fits);
	if (fits == 0)
		return;
	/* Making room has taken no extent of this payload, but a reader may have dropped this one.
	 */
	r = store(s, &key, chunks_here(s, &key), offset, fits, data);
	if (r == 0) {
		atomic_fetch_add(&s->counters.written_bytes, fits);
		return;
	}
	atomic_fetch_add(&s->counters.skipped_bytes, fits);
	/* A file that somebody has removed is no trouble. */
	if (r != -ENOENT || !have)
		stage_trouble(s, r);
}

/* Half of the disk space available to us: free space, and our own files. */
static uint64_t default_limit(const struct stage *s)
{
	struct statvfs fs;

	if (fstatvfs(s->dir_fd, &fs) < 0)
		return STAGE_SIZE_MIN;
	return MAX(((uint64_t)fs.f_bavail * fs.f_frsize + s->used) / 2, STAGE_SIZE_MIN);
}

static int load(struct stage *s)
{
	_cleanup_free_ struct folder_entry *entries = NULL;
	_cleanup_free_ char *text = NULL;
	size_t count = 0, removed = 0;
	int r = folder_list(s->dir_fd, STAGE_EXTENTS_MAX, &entries, &count, &removed);

	for (size_t i = 0; i < count && r == 0; i++) {
		const struct folder_entry *from = &entries[i];
		struct stage_extent *e = calloc(1, sizeof(*e));

		if (!e)
			return -ENOMEM;
		*e = (struct stage_extent){
			.key = from->key, .chunks = from->chunks, .bytes = from->bytes};
		r = insert(s, e);
		if (r < 0)
			free(e);
		if (r == -EEXIST) {
			extent_remove(s->dir_fd, &from->key, from->chunks);
			r = 0;
		}
	}
	if (removed > 0 && s->notice &&
	    asprintf(&text,
		     "stage %s: removed %zu files that cannot be used: of an older version, "
		     "incomplete, or not this user's alone",
		     s->path, removed) >= 0)
		s->notice(s->notice_arg, text);
	return r;
}

static int start(struct stage *s, const struct stage_options *options, struct error *err)
{
	int r = folder_open(s->path, &s->dir_fd, &s->lock_fd, err);

	if (r == 0)
		r = load(s);
	if (r < 0)
		return error_set(err, r, "cannot read stage %s: %s", s->path, strerror(-r));
	s->limit = options->size_bytes ? options->size_bytes : default_limit(s);
	atomic_store(&s->counters.limit_bytes, s->limit);
	/* It may have been larger last time. */
	(void)reserve(s, NULL, 0);
	return 0;
}

int stage_open(const struct stage_options *options, struct stage **ret, struct error *err)
{
	_cleanup_(stage_freep) struct stage *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->dir_fd = s->lock_fd = -1;
	s->notice = options->notice;
	s->notice_arg = options->arg;
	pthread_mutex_init(&s->lock, NULL);
	TAILQ_INIT(&s->by_use);
	s->path = strdup(options->dir);
	r = s->path ? start(s, options, err) : -ENOMEM;
	if (r < 0)
		return r;
	*ret = steal_ptr(s);
	return 0;
}

static void free_nothing(void *p)
{
}

void stage_free(struct stage *s)
{
	struct stage_payload *p;
	struct stage_extent *e;

	if (!s)
		return;
	tdestroy(s->extents, free_nothing);
	while ((e = TAILQ_FIRST(&s->by_use))) {
		TAILQ_REMOVE(&s->by_use, e, use);
		free(e);
	}
	while ((p = s->payloads)) {
		s->payloads = p->next;
		free(p);
	}
	closep(&s->dir_fd);
	closep(&s->lock_fd);
	pthread_mutex_destroy(&s->lock);
	free(s->path);
	free(s);
}
