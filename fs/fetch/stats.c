/*
 * Counters. Job: count cheaply, sum on demand. Relaxed atomics throughout: each number is correct
 * by itself, two of them may be a request apart. Must never make a reader wait for a query: a
 * sample that cannot be taken at once is left to the next request.
 */
#include "fs/fetch/stats.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#define SHARDS 16
#define CACHE_LINE 64
#define SAMPLES (STATS_WINDOW_NS / STATS_SAMPLE_NS + 2)
/* Below this a window is too short to divide by. */
#define WINDOW_LEAST_NS UINT64_C(1000000000)

struct shard {
	_Alignas(CACHE_LINE) atomic_uint_least64_t v[STAT_COUNT];
};

struct sample {
	uint64_t at_ns; /* 0: unused */
	uint64_t total[STAT_COUNT];
};

struct stats {
	struct shard shards[SHARDS];
	struct stats *parent;

	_Alignas(CACHE_LINE) atomic_uint_least64_t in_flight;
	atomic_uint_least64_t idle_since_ns; /* while in_flight is 0 */
	atomic_uint_least64_t sampled_ns;

	pthread_mutex_t lock; /* guards what follows */
	struct sample samples[SAMPLES];
	size_t newest;
};

static struct shard *own_shard(struct stats *s)
{
	static atomic_uint threads;
	static _Thread_local unsigned number; /* 0: not given yet */

	if (number == 0)
		number = 1 + atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed);
	return &s->shards[number % SHARDS];
}

int stats_new(struct stats *parent, struct stats **ret)
{
	struct stats *s = aligned_alloc(CACHE_LINE, sizeof(*s));

	if (!s)
		return -ENOMEM;
	memset(s, 0, sizeof(*s));
	s->parent = parent;
	atomic_store(&s->idle_since_ns, stats_now());
	pthread_mutex_init(&s->lock, NULL);
	*ret = s;
	return 0;
}

void stats_free(struct stats *s)
{
	if (!s)
		return;
	pthread_mutex_destroy(&s->lock);
	free(s);
}

uint64_t stats_now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static void add_one(struct stats *s, enum read_stat which, uint64_t n)
{
	atomic_fetch_add_explicit(&own_shard(s)->v[which], n, memory_order_relaxed);
}

void stats_add(struct stats *s, enum read_stat which, uint64_t n)
{
	for (; s; s = s->parent)
		add_one(s, which, n);
}

uint64_t stats_lap(struct stats *s, enum read_stat which, uint64_t since)
{
	uint64_t now = stats_now();

	stats_add(s, which, now - since);
	return now;
}

void stats_count_error(struct stats *s, int code)
{
	switch (code) {
	case -EBADMSG:
		stats_add(s, STAT_ERRORS_TAMPERED, 1);
		break;
	case -ESTALE:
		stats_add(s, STAT_ERRORS_CHANGED, 1);
		break;
	case -ETIMEDOUT:
	case -EHOSTUNREACH:
	case -ENETUNREACH:
	case -ECONNREFUSED:
	case -ECONNRESET:
	case -EREMOTEIO:
		stats_add(s, STAT_ERRORS_UNREACHABLE, 1);
		break;
	default:
		stats_add(s, STAT_ERRORS_OTHER, 1);
	}
}

static void sum(struct stats *s, uint64_t total[STAT_COUNT])
{
	memset(total, 0, STAT_COUNT * sizeof(total[0]));
	for (size_t i = 0; i < SHARDS; i++)
		for (size_t k = 0; k < STAT_COUNT; k++)
			total[k] += atomic_load_explicit(&s->shards[i].v[k], memory_order_relaxed);
}

static void take_sample(struct stats *s, uint64_t now)
{
	uint64_t last = atomic_load_explicit(&s->sampled_ns, memory_order_relaxed);

	if (now < last + STATS_SAMPLE_NS || pthread_mutex_trylock(&s->lock) != 0)
		return;
	/* Somebody else may have been here in between. */
	if (atomic_load_explicit(&s->sampled_ns, memory_order_relaxed) == last) {
		s->newest = (s->newest + 1) % SAMPLES;
		s->samples[s->newest].at_ns = now;
		sum(s, s->samples[s->newest].total);
		atomic_store_explicit(&s->sampled_ns, now, memory_order_relaxed);
	}
	pthread_mutex_unlock(&s->lock);
}

void stats_begin(struct stats *s)
{
	uint64_t now = stats_now();

	for (; s; s = s->parent) {
		uint64_t since = atomic_load_explicit(&s->idle_since_ns, memory_order_relaxed);

		if (atomic_fetch_add_explicit(&s->in_flight, 1, memory_order_relaxed) == 0 &&
		    now > since)
			add_one(s, STAT_IDLE_NS, now - since);
		take_sample(s, now);
	}
}

void stats_end(struct stats *s)
{
	uint64_t now = stats_now();

	for (; s; s = s->parent) {
		/* Before the count goes down: the next request takes it from here. */
		atomic_store_explicit(&s->idle_since_ns, now, memory_order_relaxed);
		atomic_fetch_sub_explicit(&s->in_flight, 1, memory_order_relaxed);
	}
}

/* Of the samples in the window the oldest one: what came before it came before the window, as a
 * request that had come later would have left an older sample. */
static const struct sample *window_start(const struct stats *s, uint64_t now)
{
	const struct sample *oldest = NULL;

	for (size_t i = 0; i < SAMPLES; i++) {
		const struct sample *one = &s->samples[i];

		if (one->at_ns && one->at_ns + STATS_WINDOW_NS >= now &&
		    (!oldest || one->at_ns < oldest->at_ns))
			oldest = one;
	}
	return oldest;
}

void stats_look(struct stats *s, struct stats_snapshot *ret)
{
	const struct sample *start;
	uint64_t now;

	memset(ret, 0, sizeof(*ret));
	pthread_mutex_lock(&s->lock);
	now = stats_now();
	sum(s, ret->total);
	ret->in_flight = atomic_load_explicit(&s->in_flight, memory_order_relaxed);
	start = window_start(s, now);
	if (start) {
		ret->window_ns = now - start->at_ns;
		for (size_t i = 0; i < STAT_COUNT; i++)
			ret->recent[i] = ret->total[i] - start->total[i];
	}
	pthread_mutex_unlock(&s->lock);
	if (ret->in_flight == 0) {
		uint64_t since = atomic_load_explicit(&s->idle_since_ns, memory_order_relaxed);

		if (start && now > since)
			ret->recent[STAT_IDLE_NS] += now - since;
	}
}

enum stats_limit stats_limit(const struct stats_snapshot *s)
{
	static const struct {
		enum read_stat time;
		enum stats_limit limit;
	} stages[] = {
		{STAT_DECRYPT_NS, STATS_CIPHER},
		{STAT_HASH_NS, STATS_HASH},
		{STAT_REPLY_NS, STATS_PAGE_CACHE},
	};
	enum stats_limit limit = STATS_SOURCE;
	uint64_t idle = MIN(s->recent[STAT_IDLE_NS], s->window_ns), known, most;

	if (s->window_ns == 0)
		return s->in_flight > 0 ? STATS_SOURCE : STATS_IDLE;
	if (idle > s->window_ns / 2)
		return STATS_READER;
	/* Time is counted when it is over. Where there was a request, but it is not known yet what
	 * it did, it waits, and the source is what it can wait for so long. */
	known = s->recent[STAT_FETCH_NS] + s->recent[STAT_DECRYPT_NS] + s->recent[STAT_HASH_NS] +
		s->recent[STAT_REPLY_NS];
	most = s->recent[STAT_FETCH_NS];
	if (s->in_flight > 0 && known < s->window_ns - idle)
		most += s->window_ns - idle - known;
	for (size_t i = 0; i < ARRAY_LEN(stages); i++) {
		uint64_t spent = s->recent[stages[i].time];

		if (spent > most) {
			most = spent;
			limit = stages[i].limit;
		}
	}
	return limit;
}

double stats_throughput(const struct stats_snapshot *s)
{
	if (s->window_ns == 0)
		return 0;
	return (double)s->recent[STAT_DELIVERED_BYTES] /
	       ((double)MAX(s->window_ns, WINDOW_LEAST_NS) / 1e9);
}
