/*
 * Failed reads that wait for their answer. Job: count failures of each reader, and hold answers
 * that are delayed. Must never delay a reader whose reads succeed, nor longer than deferral.h
 * states. A wrong thread id does limited harm: it delays a reader by DEFERRAL_MAX_MS.
 */
#include "fs/models/deferral.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

struct reader {
	uint64_t ino, offset;
	uint64_t answered_ms; /* when its last answer was given, or will be */
	pid_t thread, process;
	unsigned failures;
};

struct deferral {
	pid_t (*process_of)(pid_t thread);
	bool (*is_there)(pid_t process);
	size_t page;
	size_t count, large;
	struct deferred answers[DEFERRAL_ANSWERS_MAX]; /* in no order */
	size_t reader_count;
	struct reader readers[DEFERRAL_READERS_MAX];
};

int deferral_new(pid_t (*process_of)(pid_t thread), bool (*is_there)(pid_t process),
		 struct deferral **ret)
{
	struct deferral *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->process_of = process_of;
	d->is_there = is_there;
	d->page = (size_t)sysconf(_SC_PAGESIZE);
	*ret = d;
	return 0;
}

void deferral_free(struct deferral *d)
{
	free(d);
}

static bool is_forgotten(const struct reader *r, uint64_t now_ms)
{
	return now_ms > r->answered_ms && now_ms - r->answered_ms > DEFERRAL_FORGET_MS;
}

static bool is_reader(const struct reader *r, const struct deferred *read)
{
	return r->thread == read->reader && r->ino == read->ino &&
	       (read->reader != 0 || r->offset == read->offset);
}

/* The reader's entry, or the one to be used for it: a free one, else of whom least is known. A
 * crowd of new readers cannot drive out those that loop. */
static struct reader *find_reader(struct deferral *d, const struct deferred *read, uint64_t now_ms)
{
	struct reader *least = NULL;

	for (size_t i = 0; i < d->reader_count; i++) {
		struct reader *r = &d->readers[i];

		if (is_forgotten(r, now_ms))
			*r = (struct reader){0};
		else if (is_reader(r, read))
			return r;
		if (!least || r->failures < least->failures)
			least = r;
	}
	if ((!least || least->failures > 0) && d->reader_count < DEFERRAL_READERS_MAX)
		least = &d->readers[d->reader_count++];
	*least = (struct reader){.ino = read->ino, .thread = read->reader};
	return least;
}

/* 0: at once. */
static uint64_t next_delay(const struct reader *r)
{
	unsigned late = r->failures - DEFERRAL_FREE;
	uint64_t ms = DEFERRAL_FIRST_MS;

	if (r->failures < DEFERRAL_FREE || late % (1 + DEFERRAL_BURST) != 0)
		return 0;
	for (; late > DEFERRAL_BURST && ms < DEFERRAL_MAX_MS; late -= 1 + DEFERRAL_BURST)
		ms *= 2;
	return MIN(ms, (uint64_t)DEFERRAL_MAX_MS);
}

bool deferral_add(struct deferral *d, const struct deferred *read, uint64_t now_ms)
{
	struct reader *r = find_reader(d, read, now_ms);
	uint64_t delay_ms = next_delay(r);
	bool is_large = read->size > d->page;

	r->offset = read->offset;
	r->answered_ms = now_ms;
	if (delay_ms > 0 &&
	    (d->count == DEFERRAL_ANSWERS_MAX || (is_large && d->large == DEFERRAL_LARGE_MAX)))
		return false; /* the next one, then */
	r->failures += r->failures < UINT_MAX;
	if (delay_ms == 0)
		return false;
	if (r->process == 0)
		r->process = d->process_of(r->thread);
	d->answers[d->count] = *read;
	/* In whole units, so that few wakings answer many. */
	d->answers[d->count].due_ms = now_ms / DEFERRAL_FIRST_MS * DEFERRAL_FIRST_MS + delay_ms;
	r->answered_ms = d->answers[d->count++].due_ms;
	d->large += is_large;
	return true;
}

const struct deferred *deferral_find(const struct deferral *d, const void *request)
{
	for (size_t i = 0; i < d->count; i++)
		if (d->answers[i].request == request)
			return &d->answers[i];
	return NULL;
}

void deferral_remove(struct deferral *d, const struct deferred *read)
{
	size_t i = (size_t)(read - d->answers);

	d->large -= read->size > d->page;
	d->answers[i] = d->answers[--d->count];
}

bool deferral_take(struct deferral *d, uint64_t now_ms, struct deferred *ret)
{
	for (size_t i = 0; i < d->count; i++)
		if (d->answers[i].due_ms <= now_ms) {
			*ret = d->answers[i];
			deferral_remove(d, &d->answers[i]);
			return true;
		}
	return false;
}

uint64_t deferral_next_ms(const struct deferral *d)
{
	uint64_t next = UINT64_MAX;

	for (size_t i = 0; i < d->count; i++)
		next = MIN(next, d->answers[i].due_ms);
	return next;
}

void deferral_look(const struct deferral *d, uint64_t ino, uint64_t now_ms,
		   struct deferral_look *ret)
{
	*ret = (struct deferral_look){0};
	for (size_t i = 0; i < d->reader_count; i++) {
		const struct reader *r = &d->readers[i];

		if (r->ino != ino || r->failures <= DEFERRAL_FREE ||
		    now_ms > r->answered_ms + DEFERRAL_SHOWN_MS || !d->is_there(r->process))
			continue;
		if (ret->shown < DEFERRAL_SHOWN_MAX) {
			ret->readers[ret->shown].process = r->process;
			ret->readers[ret->shown++].offset = r->offset;
		}
		ret->count++;
	}
}
