/*
 * stats.h: counters and times of the read path: of one file, and of all (each file's counters are
 * also added to its engine's). Counters only grow; each thread has its own cache line, so that
 * counting costs nanoseconds and readers do not slow each other down.
 *
 * A window of the last seconds is kept beside the totals, by samples that requests themselves take:
 * an idle file costs nothing. Nothing here blocks longer than a copy of the counters takes, and
 * nothing is held across I/O. Threads: any.
 */
#ifndef SEALEDFS_FETCH_STATS_H
#define SEALEDFS_FETCH_STATS_H

#include "crypto/base/cleanup.h"

#include <stdint.h>

enum read_stat {
	STAT_READS,	       /* requests answered with data or end of file */
	STAT_DELIVERED_BYTES,  /* plaintext given to the kernel */
	STAT_FILLED_BYTES,     /* plaintext put into the page cache ahead of readers */
	STAT_FETCHES,	       /* requests to the source for ciphertext */
	STAT_FETCHED_BYTES,    /* ciphertext that came from the source */
	STAT_CHUNKS_DECRYPTED, /* decrypted, checked and good */
	STAT_CHUNK_HITS,   /* chunks of a request that were cached, or that another one loaded */
	STAT_CHUNK_MISSES, /* chunks of a request that it had to load */
	/* Failed reads, by cause. */
	STAT_ERRORS_TAMPERED,
	STAT_ERRORS_CHANGED,
	STAT_ERRORS_UNREACHABLE,
	STAT_ERRORS_OTHER,
	/* Nanoseconds, summed over the threads that spent them. */
	STAT_FETCH_NS,	 /* waiting for ciphertext */
	STAT_DECRYPT_NS, /* and checking tags */
	STAT_HASH_NS,	 /* checking against the measured hashes */
	STAT_REPLY_NS,	 /* the kernel copying into the page cache */
	STAT_WAIT_NS,	 /* waiting for room, or for a chunk that another request loads */
	STAT_IDLE_NS,	 /* wall-clock time without any request; up to the last one */
	STAT_COUNT
};

/* The window's length, and how often it moves. */
#define STATS_WINDOW_NS UINT64_C(5000000000)
#define STATS_SAMPLE_NS UINT64_C(500000000)

struct stats;

/* parent: also counts everything; must outlive it. NULL: none. */
int stats_new(struct stats *parent, struct stats **ret);
void stats_free(struct stats *s);

/* Nanoseconds of CLOCK_MONOTONIC. */
uint64_t stats_now(void);
void stats_add(struct stats *s, enum read_stat which, uint64_t n);
/* Adds the time since `since`; returns the present, for the next lap. */
uint64_t stats_lap(struct stats *s, enum read_stat which, uint64_t since);
/* A read failed with this negative errno. */
void stats_count_error(struct stats *s, int code);

/* Around each request. */
void stats_begin(struct stats *s);
void stats_end(struct stats *s);

/* The main bottleneck of a file that is being read. */
enum stats_limit {
	STATS_IDLE,   /* no reads */
	STATS_READER, /* the readers: no request for more than half of the time */
	STATS_SOURCE, /* network or disk */
	STATS_CIPHER,
	STATS_HASH,
	STATS_PAGE_CACHE,
	STATS_LIMIT_COUNT
};

struct stats_snapshot {
	uint64_t total[STAT_COUNT];
	uint64_t in_flight;
	/* The window: at most STATS_WINDOW_NS, shorter when reading began in it; 0: no request came
	 * in it. */
	uint64_t window_ns;
	uint64_t recent[STAT_COUNT];
};
void stats_look(struct stats *s, struct stats_snapshot *ret);
enum stats_limit stats_limit(const struct stats_snapshot *s);
/* Bytes given to the kernel each second, over the window. */
double stats_throughput(const struct stats_snapshot *s);

DEFINE_CLEANUP(struct stats *, stats_free)

#endif
