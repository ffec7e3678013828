/*
 * Tables of files. Job: keep those in use in memory, within the budget, and evict the least
 * recently used others. Trusts nothing that it reads: seal_load_tables() compares it with the core
 * that the file was opened with. Must never evict tables in use.
 */
#include "fs/read/tables.h"

#include "fs/read/read_internal.h"

#include <errno.h>
#include <string.h>

/* Checking takes a little more for a moment, see seal.h. */
#define CHECK_DIVISOR 192

void tables_init(struct tables *t, struct allowance *allowance)
{
	*t = (struct tables){.allowance = allowance};
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->changed, NULL);
}

void tables_done(struct tables *t)
{
	pthread_cond_destroy(&t->changed);
	pthread_mutex_destroy(&t->lock);
}

static void idle_add(struct tables *t, struct read_file *f)
{
	f->tables.next = NULL;
	f->tables.prev = t->newest;
	*(t->newest ? &t->newest->tables.next : &t->oldest) = f;
	t->newest = f;
}

static void idle_remove(struct tables *t, struct read_file *f)
{
	struct file_tables *own = &f->tables;

	*(own->prev ? &own->prev->tables.next : &t->oldest) = own->next;
	*(own->next ? &own->next->tables.prev : &t->newest) = own->prev;
}

static size_t bytes_of(const struct read_file *f)
{
	size_t size = (size_t)seal_tables_size(f->seal);

	return size + size / CHECK_DIVISOR + 2 * ALLOWANCE_OVERHEAD;
}

/* False: none can be evicted. */
static bool give_up_oldest(struct tables *t)
{
	struct read_file *f;
	size_t bytes = 0;

	pthread_mutex_lock(&t->lock);
	f = t->oldest;
	if (f) {
		idle_remove(t, f);
		seal_drop_tables(f->seal);
		f->tables.state = TABLES_ABSENT;
		bytes = bytes_of(f);
		f->tables.taken -= bytes;
	}
	pthread_mutex_unlock(&t->lock);
	allowance_give(t->allowance, bytes);
	return f != NULL;
}

int tables_keep(struct tables *t, struct read_file *f, size_t bytes, struct error *err)
{
	int r = allowance_take(t->allowance, bytes);

	while (r < 0 && give_up_oldest(t))
		r = allowance_take(t->allowance, bytes);
	if (r < 0)
		return allowance_refuse(t->allowance, bytes, err, "\"%s\", of %.1f GB,",
					f->payload.label, (double)f->payload.length / 1e9);
	pthread_mutex_lock(&t->lock);
	f->tables.taken += bytes;
	pthread_mutex_unlock(&t->lock);
	return 0;
}

/* The tables are what a seal object ends with, whatever recipients it has now, and wherever its
 * writer has put it. */
static int read_again(struct read_file *f, uint8_t *tables, size_t size, struct error *err)
{
	const char *name = f->tables.seal_name;
	struct source_object now = {0};
	int r;

	error_clear(err);
	r = source_stat(f->payload.source, name, &now, err);
	if (r == -ENOENT && f->tables.seal_later) {
		error_clear(err);
		name = f->tables.seal_later;
		r = source_stat(f->payload.source, name, &now, err);
	}
	if (r == 0 && now.size < size)
		r = error_set(err, -ESTALE, "%s is not the seal that was there", name);
	if (r == 0)
		r = source_read(f->payload.source, name, now.version, now.size - size, size, tables,
				err);
	source_object_clear(&now);
	return r;
}

static int fetch(struct read_file *f, const void *head, size_t head_size, struct error *err)
{
	size_t at = (size_t)seal_tables_offset(f->seal), size = (size_t)seal_tables_size(f->seal);
	uint8_t *tables = malloc(size + 1);
	int r = 0;

	if (!tables)
		return error_set(err, -ENOMEM, "no memory for the tables of %s, %zu bytes",
				 f->payload.label, size);
	if (at + size <= head_size)
		memcpy(tables, (const uint8_t *)head + at, size);
	else
		r = source_read(f->payload.source, f->tables.seal_name, f->tables.seal_version, at,
				size, tables, err);
	if (r == -ESTALE || (r == -ENOENT && f->tables.seal_later))
		r = read_again(f, tables, size, err);
	if (r == 0)
		return seal_load_tables(f->seal, f->keys, tables, err);
	free(tables);
	return r;
}

static int load(struct tables *t, struct read_file *f, const void *head, size_t head_size,
		struct error *err)
{
	size_t bytes = bytes_of(f);
	int r = tables_keep(t, f, bytes, err);

	if (r < 0)
		return r;
	r = fetch(f, head, head_size, err);
	if (r == 0)
		return 0;
	pthread_mutex_lock(&t->lock);
	f->tables.taken -= bytes;
	pthread_mutex_unlock(&t->lock);
	allowance_give(t->allowance, bytes);
	return r;
}

/* Under the lock. */
static void add_user(struct tables *t, struct read_file *f)
{
	if (f->tables.users++ == 0)
		idle_remove(t, f);
}

int read_file_use(struct read_file *f, const void *head, size_t head_size, struct error *err)
{
	struct tables *t = &f->engine->tables;
	int r = 0;

	pthread_mutex_lock(&t->lock);
	while (f->tables.state == TABLES_LOADING)
		pthread_cond_wait(&t->changed, &t->lock);
	if (f->tables.state == TABLES_PRESENT) {
		add_user(t, f);
	} else {
		f->tables.state = TABLES_LOADING;
		pthread_mutex_unlock(&t->lock);
		r = load(t, f, head, head_size, err);
		pthread_mutex_lock(&t->lock);
		f->tables.state = r == 0 ? TABLES_PRESENT : TABLES_ABSENT;
		f->tables.users = r == 0;
		pthread_cond_broadcast(&t->changed);
	}
	pthread_mutex_unlock(&t->lock);
	return r;
}

bool read_file_try_use(struct read_file *f)
{
	struct tables *t = &f->engine->tables;
	bool there;

	pthread_mutex_lock(&t->lock);
	there = f->tables.state == TABLES_PRESENT;
	if (there)
		add_user(t, f);
	pthread_mutex_unlock(&t->lock);
	return there;
}

void read_file_unuse(struct read_file *f)
{
	struct tables *t = &f->engine->tables;

	pthread_mutex_lock(&t->lock);
	if (--f->tables.users == 0)
		idle_add(t, f);
	pthread_mutex_unlock(&t->lock);
}

void tables_forget(struct tables *t, struct read_file *f)
{
	pthread_mutex_lock(&t->lock);
	if (f->tables.state == TABLES_PRESENT && f->tables.users == 0)
		idle_remove(t, f);
	pthread_mutex_unlock(&t->lock);
	allowance_give(t->allowance, f->tables.taken);
	free(f->tables.seal_name);
	free(f->tables.seal_version);
	free(f->tables.seal_later);
}
