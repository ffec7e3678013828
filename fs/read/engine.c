/*
 * Engine and file objects. Job: own the objects that readers share, free them in the right order,
 * and remember permanently that a file was found tampered with.
 */
#include "fs/read/read_internal.h"

#include "crypto/base/clock.h"
#include "fs/read/background.h"
#include "fs/read/pagecache.h"
#include "fs/read/tables.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* What is kept has changed: plaintext gives way to it, or gets its room back. */
static void on_kept(void *arg)
{
	struct read_engine *e = arg;
	size_t kept, count;

	pthread_mutex_lock(&e->kept_lock);
	kept = (atomic_load(&e->kept->used) + SEAL_CHUNK_SIZE - 1) / SEAL_CHUNK_SIZE;
	count = e->chunk_count - MIN(kept, e->chunk_count);
	if (count != e->chunk_limit) {
		buffer_cache_limit(e->chunks, count);
		/* It may be more than its share now, and readers would wait for it in a circle. */
		if (count < e->chunk_limit)
			background_drop(e->background);
		e->chunk_limit = count;
	}
	pthread_mutex_unlock(&e->kept_lock);
}

int read_engine_new(const struct read_engine_options *options, struct read_engine **ret)
{
	_cleanup_(read_engine_freep) struct read_engine *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return -ENOMEM;
	pthread_mutex_init(&e->kept_lock, NULL);
	tables_init(&e->tables, options->kept);
	e->chunk_count = e->chunk_limit = options->budget.chunks;
	e->worker_count = options->workers ? options->workers : cpu_count();
	r = stats_new(NULL, &e->stats);
	if (r == 0)
		r = readers_new(&e->readers);
	if (r == 0)
		r = fetch_new(options->budget.extents, e->readers, &e->fetch);
	if (r == 0)
		r = buffer_cache_new(e->chunk_count, SEAL_CHUNK_SIZE, &e->chunks);
	if (r == 0)
		r = pool_new(e->worker_count, &e->workers);
	if (r == 0)
		r = pagecache_new(options, e->readers, &e->pagecache);
	if (r == 0)
		r = background_new(e, options, &e->background);
	if (r < 0)
		return r;
	e->kept = options->kept;
	if (e->kept) {
		e->kept->arg = e;
		e->kept->changed = on_kept;
		on_kept(e);
	}
	*ret = steal_ptr(e);
	return 0;
}

bool read_engine_is_locked(const struct read_engine *e)
{
	return buffer_cache_is_locked(e->chunks);
}

void read_engine_stop(struct read_engine *e)
{
	atomic_store(&e->stopping, true);
	pagecache_stop(e->pagecache);
	background_stop(e->background);
	fetch_stop(e->fetch);
	buffer_cache_stop(e->chunks);
}

bool read_engine_idle(struct read_engine *e, unsigned wait_ms)
{
	return background_idle(e->background, wait_ms);
}

void read_engine_throttled(struct read_engine *e)
{
	fetch_throttled(e->fetch);
}

void read_engine_free(struct read_engine *e)
{
	if (!e)
		return;
	if (e->kept)
		e->kept->changed = NULL;
	background_free(e->background);
	pagecache_free(e->pagecache);
	fetch_free(e->fetch);
	readers_free(e->readers);
	pool_free(e->workers);
	buffer_cache_free(e->chunks);
	stats_free(e->stats);
	tables_done(&e->tables);
	pthread_mutex_destroy(&e->kept_lock);
	free(e);
}

static int copy(char **ret, const char *text)
{
	*ret = text ? strdup(text) : NULL;
	return text && !*ret ? -ENOMEM : 0;
}

static int copy_strings(struct file_tables *t, const struct read_file_options *o)
{
	int r = copy(&t->seal_name, o->seal_name);

	if (r == 0)
		r = copy(&t->seal_version, o->seal_version);
	return r < 0 ? r : copy(&t->seal_later, o->seal_later);
}

int read_file_new(struct read_engine *e, const struct read_file_options *o, struct read_file **ret,
		  struct error *err)
{
	_cleanup_(read_file_freep) struct read_file *f = calloc(1, sizeof(*f));
	int r;

	if (!f) {
		seal_free(o->seal);
		seal_keys_free(o->keys);
		return -ENOMEM;
	}
	f->engine = e;
	f->seal = o->seal;
	f->keys = o->keys;
	f->check = o->check;
	f->refused_beginning = o->refused_beginning;
	f->payload.source = o->source;
	f->payload.length = seal_core(o->seal)->length;
	f->payload.chunk_count = seal_core(o->seal)->chunk_count;
	pthread_mutex_init(&f->lock, NULL);
	r = payload_init(&f->payload, o->payload_name, o->version, o->label);
	if (r == 0)
		r = copy_strings(&f->tables, o);
	if (r == 0)
		r = stats_new(e->stats, &f->payload.stats);
	/* Whoever has them already keeps them. */
	if (seal_has_tables(f->seal)) {
		f->tables.state = TABLES_PRESENT;
		f->tables.users = 1;
	} else if (!o->seal_name) {
		r = error_set(err, -EINVAL, "%s: nobody knows where its tables are", o->label);
	}
	if (r < 0)
		return r;
	*ret = steal_ptr(f);
	return 0;
}

void read_file_free(struct read_file *f)
{
	if (!f)
		return;
	/* First the parts that may start work, then the parts that would do it. */
	background_forget(f->engine->background, f);
	pagecache_forget(f->engine->pagecache, f);
	fetch_forget(f->engine->fetch, &f->payload);
	buffer_cache_forget(f->engine->chunks, f);
	tables_forget(&f->engine->tables, f);
	while (f->idle_cipher_count > 0)
		chunk_cipher_free(f->idle_ciphers[--f->idle_cipher_count]);
	pthread_mutex_destroy(&f->lock);
	fingerprint_key_free(f->fingerprint_key);
	free(f->fingerprints);
	seal_keys_free(f->keys);
	seal_free(f->seal);
	payload_done(&f->payload);
	stats_free(f->payload.stats);
	free(f);
}

void read_file_set_target(struct read_file *f, void *target)
{
	f->target = target;
}

void read_file_opened(struct read_file *f)
{
	if (!atomic_exchange(&f->opened, true))
		fetch_ends(f->engine->fetch, &f->payload);
	background_opened(f->engine->background, f);
}

void read_file_keep_out(struct read_file *f, enum read_kept_out what)
{
	atomic_store(&f->kept_out, (unsigned)what);
}

void read_file_shown(struct read_file *f)
{
	if (!atomic_exchange(&f->opened, true))
		fetch_ends(f->engine->fetch, &f->payload);
	background_shown(f->engine->background, f, f->hashed);
}

void file_poison(struct read_file *f, const struct error *cause)
{
	pthread_mutex_lock(&f->lock);
	if (!f->poison.code)
		f->poison = *cause;
	atomic_store(&f->payload.abandoned, true);
	pthread_mutex_unlock(&f->lock);
}

int read_file_poisoned(struct read_file *f, struct error *err)
{
	int code;

	if (!atomic_load(&f->payload.abandoned))
		return 0;
	pthread_mutex_lock(&f->lock);
	code = f->poison.code;
	if (err && !err->code)
		*err = f->poison;
	pthread_mutex_unlock(&f->lock);
	return code;
}

void file_note_load(struct read_file *f, int code, const struct error *err)
{
	if ((code == 0 && !atomic_load(&f->troubled)) || code == -ECANCELED)
		return;
	pthread_mutex_lock(&f->lock);
	f->trouble = code < 0 && err ? *err : (struct error){.code = code};
	atomic_store(&f->troubled, code < 0);
	pthread_mutex_unlock(&f->lock);
}

int read_file_trouble(struct read_file *f, struct error *err)
{
	int code;

	pthread_mutex_lock(&f->lock);
	code = f->trouble.code;
	if (code < 0 && err && !err->code)
		*err = f->trouble;
	pthread_mutex_unlock(&f->lock);
	return code;
}

struct stats *read_file_stats(struct read_file *f)
{
	return f->payload.stats;
}

const struct seal *read_file_seal(const struct read_file *f)
{
	return f->seal;
}

void read_engine_look(struct read_engine *e, struct read_engine_state *ret)
{
	*ret = (struct read_engine_state){
		.chunk_bytes = e->chunk_count * SEAL_CHUNK_SIZE,
		.kept_bytes = e->kept ? atomic_load(&e->kept->used) : 0,
		.chunk_bytes_in_use = buffer_cache_reserved(e->chunks) * SEAL_CHUNK_SIZE,
	};
	fetch_memory(e->fetch, &ret->extent_bytes, &ret->extent_bytes_in_use);
	stats_look(e->stats, &ret->stats);
}
