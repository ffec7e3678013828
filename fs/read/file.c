/*
 * Engine and file objects. Job: own what readers share, give it back in the right order, and
 * remember for good that a file was found tampered with.
 */
#include "fs/read/file.h"

#include "fs/read/budget.h"
#include "fs/read/monotonic.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

/* More than this is never on its way or unread. */
#define EXTENTS_MAX ((size_t)64)

static unsigned cpu_count(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return 2;
	return (unsigned)CPU_COUNT(&set);
}

int read_engine_new(const struct read_engine_options *options, struct read_engine **ret)
{
	_cleanup_(read_engine_freep) struct read_engine *e = calloc(1, sizeof(*e));
	size_t budget = budget_left(options->memory_bytes, options->reserved_bytes), extents;
	int r;

	if (!e)
		return -ENOMEM;
	r = stats_new(NULL, &e->stats);
	if (r < 0)
		return r;
	/*
	 * Two thirds for ciphertext on its way, the rest for plaintext, of which only what is being
	 * answered has to be there: 32 loop threads with 1 MiB each need 48 MiB. With 256 MiB that
	 * is 21 extents: 16 on their way, and 5 that are ready or being used. Untouched pages cost
	 * nothing: with a directory as the source only the plaintext's are ever used.
	 */
	extents = MIN(budget * 2 / 3 / SEAL_EXTENT_SIZE, EXTENTS_MAX);
	extents = MAX(extents, (size_t)2);
	r = fill_new(e, options, &e->fill);
	if (r == 0)
		r = fetch_new(extents, &e->fetch);
	if (r < 0)
		return r;
	r = buffer_cache_new((budget - extents * SEAL_EXTENT_SIZE) / SEAL_CHUNK_SIZE,
			     SEAL_CHUNK_SIZE, &e->chunks);
	if (r < 0)
		return r;
	r = rest_new(e, &e->rest);
	if (r < 0)
		return r;
	e->worker_count = options->workers ? options->workers : cpu_count();
	r = pool_new(e->worker_count, &e->workers);
	if (r == 0)
		r = ahead_new(e, options, &e->ahead);
	if (r < 0)
		return r;
	*ret = steal_ptr(e);
	return 0;
}

void read_engine_stop(struct read_engine *e)
{
	atomic_store(&e->stopping, true);
	fill_stop(e->fill);
	ahead_stop(e->ahead);
	rest_stop(e->rest);
	fetch_stop(e->fetch);
	buffer_cache_stop(e->chunks);
}

bool read_engine_idle(struct read_engine *e, unsigned wait_ms)
{
	uint64_t deadline_ms = monotonic_ms() + wait_ms, now_ms;

	if (!fill_idle(e->fill, wait_ms))
		return false;
	now_ms = monotonic_ms();
	return rest_idle(e->rest, now_ms < deadline_ms ? (unsigned)(deadline_ms - now_ms) : 0);
}

void read_engine_throttled(struct read_engine *e)
{
	fetch_throttled(e->fetch);
}

void read_engine_free(struct read_engine *e)
{
	if (!e)
		return;
	rest_free(e->rest);
	fill_free(e->fill);
	ahead_free(e->ahead);
	fetch_free(e->fetch);
	pool_free(e->workers);
	buffer_cache_free(e->chunks);
	stats_free(e->stats);
	free(e);
}

static int copy_strings(struct read_file *f, const struct read_file_options *o)
{
	f->payload_name = strdup(o->payload_name);
	f->version = o->version ? strdup(o->version) : NULL;
	f->label = strdup(o->label);
	return f->payload_name && f->label && (f->version || !o->version) ? 0 : -ENOMEM;
}

int read_file_new(struct read_engine *e, const struct read_file_options *o, struct read_file **ret,
		  struct error *err)
{
	_cleanup_(read_file_freep) struct read_file *f = calloc(1, sizeof(*f));

	if (!f) {
		seal_free(o->seal);
		seal_keys_free(o->keys);
		return -ENOMEM;
	}
	f->engine = e;
	f->source = o->source;
	f->seal = o->seal;
	f->keys = o->keys;
	f->check = o->check;
	f->length = seal_core(o->seal)->length;
	f->chunk_count = seal_core(o->seal)->chunk_count;
	f->by_extents = source_preferred_size(o->source) >= SEAL_EXTENT_SIZE;
	pthread_mutex_init(&f->lock, NULL);
	access_init(&f->access, f->chunk_count);
	if (!seal_has_tables(f->seal))
		return error_set(err, -EINVAL, "%s: the seal was read without its tables",
				 o->label);
	if (copy_strings(f, o) < 0 || stats_new(e->stats, &f->stats) < 0)
		return -ENOMEM;
	*ret = steal_ptr(f);
	return 0;
}

void read_file_free(struct read_file *f)
{
	if (!f)
		return;
	rest_forget(f->engine->rest, f);
	fill_forget(f->engine->fill, f);
	ahead_forget(f->engine->ahead, f);
	fetch_forget(f->engine->fetch, f);
	buffer_cache_forget(f->engine->chunks, f);
	while (f->idle_cipher_count > 0)
		chunk_cipher_free(f->idle_ciphers[--f->idle_cipher_count]);
	access_done(&f->access);
	pthread_mutex_destroy(&f->lock);
	fingerprint_key_free(f->fingerprint_key);
	free(f->fingerprints);
	seal_keys_free(f->keys);
	seal_free(f->seal);
	free(f->payload_name);
	free(f->version);
	free(f->label);
	stats_free(f->stats);
	free(f);
}

void read_file_set_target(struct read_file *f, void *target)
{
	f->target = target;
}

void read_file_opened(struct read_file *f)
{
	if (!atomic_exchange(&f->opened, true))
		fetch_ends(f->engine->fetch, f);
	fill_opened(f->engine->fill, f);
}

void file_poison(struct read_file *f, const struct error *cause)
{
	pthread_mutex_lock(&f->lock);
	if (!f->poison.code)
		f->poison = *cause;
	atomic_store(&f->poisoned, true);
	pthread_mutex_unlock(&f->lock);
}

int read_file_poisoned(struct read_file *f, struct error *err)
{
	int code;

	if (!atomic_load(&f->poisoned))
		return 0;
	pthread_mutex_lock(&f->lock);
	code = f->poison.code;
	if (err && !err->code)
		*err = f->poison;
	pthread_mutex_unlock(&f->lock);
	return code;
}

struct stats *read_file_stats(struct read_file *f)
{
	return f->stats;
}

void read_engine_look(struct read_engine *e, struct read_engine_state *ret)
{
	*ret = (struct read_engine_state){
		.chunk_bytes = buffer_cache_count(e->chunks) * SEAL_CHUNK_SIZE,
		.chunk_bytes_in_use = buffer_cache_reserved(e->chunks) * SEAL_CHUNK_SIZE,
	};
	fetch_memory(e->fetch, &ret->extent_bytes, &ret->extent_bytes_in_use);
	stats_look(e->stats, &ret->stats);
}
