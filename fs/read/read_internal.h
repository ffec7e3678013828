/*
 * read_internal.h: the inside of struct read_engine and struct read_file, for fs/read only.
 */
#ifndef SEALEDFS_READ_INTERNAL_H
#define SEALEDFS_READ_INTERNAL_H

#include "crypto/base/allowance.h"
#include "crypto/base/pool.h"
#include "fs/fetch/fetch.h"
#include "fs/read/buffers.h"
#include "fs/read/read.h"

#include <pthread.h>
#include <stdatomic.h>

#define IDLE_CIPHERS_MAX 32

/* Of all files: tables.c. */
struct tables {
	struct allowance *allowance; /* NULL: no limit */
	pthread_mutex_t lock;	     /* guards what follows, and the files' own part */
	pthread_cond_t changed;
	struct read_file *oldest, *newest; /* with tables, and without users */
};

struct read_engine {
	struct buffer_cache *chunks; /* plaintext, SEAL_CHUNK_SIZE each */
	struct readers *readers;     /* positions of readers */
	struct fetch *fetch;	     /* ciphertext */
	struct pagecache *pagecache; /* the kernel's */
	struct background *background;
	struct pool *workers; /* decrypt for the flat pass */
	unsigned worker_count;
	atomic_uint answering; /* readers' requests, until they are answered */
	struct stats *stats;   /* of all files */
	struct tables tables;
	atomic_bool stopping;

	struct allowance *kept; /* memory that shrinks the plaintext buffers; NULL: none */
	size_t chunk_count;	/* buffers, when nothing is kept */
	pthread_mutex_t kept_lock;
	size_t chunk_limit; /* guarded by kept_lock: buffers now */
};

/* A file's part of tables.c, guarded by its lock. */
struct file_tables {
	enum { TABLES_ABSENT, TABLES_LOADING, TABLES_PRESENT } state;
	unsigned users;
	size_t taken;		       /* bytes of the allowance; also for what is not the tables */
	struct read_file *prev, *next; /* while nobody uses them */
	char *seal_name, *seal_version, *seal_later;
};

/* Of background.c, guarded by its lock but for the atomic. */
struct background_file {
	struct read_file *next;
	bool listed;
	bool wanted; /* to be filled */
	bool map_wanted, map_tried;
	bool ended;	/* background_forget() waits */
	unsigned users; /* threads at work on it */
	atomic_uint_least64_t read_bytes;
};

/* Of pagecache.c, guarded by its lock. */
struct pagecache_file {
	uint8_t *held; /* bit of each chunk that the kernel was given */
	uint64_t held_count, cursor;
	unsigned introductions;
};

struct read_file {
	struct read_engine *engine;
	struct payload payload;
	void *target; /* for the engine's store() */
	struct seal *seal;
	struct seal_keys *keys;
	struct file_tables tables;
	enum chunk_check check;
	struct background_file background;
	struct pagecache_file pagecache;
	atomic_bool opened;
	atomic_uint kept_out;	    /* enum read_kept_out */
	atomic_uint verity_chunks;  /* loaded, with check verity */
	atomic_uint hash_per_mille; /* of their time that is hashing */

	/* Flat modes: written by the pass, each entry by the worker that decrypts the chunk;
	 * immutable once hashed is set. */
	struct fingerprint_key *fingerprint_key;
	uint8_t *fingerprints; /* FINGERPRINT_SIZE each */
	bool hashed;
	const char *refused_beginning; /* NULL: none */

	pthread_mutex_t lock; /* guards what follows */
	struct chunk_cipher *idle_ciphers[IDLE_CIPHERS_MAX];
	unsigned idle_cipher_count;
	struct error trouble; /* of the last chunk that was loaded for a reader; code 0: none */
	atomic_bool troubled;
	struct error poison; /* code 0: healthy; else payload.abandoned is set after it */
};

/* The file that this is the payload of. */
static inline struct read_file *read_file_of(struct payload *p)
{
	return (struct read_file *)((char *)p - offsetof(struct read_file, payload));
}

/* Fetches, decrypts and checks one chunk into b, with one more try from the origin; poisons the
 * file when that fails too. whole_extent: fetch its neighbours as well. */
int file_load_chunk(struct read_file *f, uint64_t index, bool whole_extent, struct buffer *b,
		    struct error *err);
/* The same without a waiting reader: one try, and every failure is -ECANCELED and poisons nothing.
 */
int file_load_ahead(struct read_file *f, uint64_t index, struct buffer *b);
/* As read_file_read(), without a waiting reader: it does not count as a reader. in_order: later
 * chunks will be read, too. */
int read_file_background(struct read_file *f, uint64_t offset, size_t size, bool in_order,
			 struct read_result *ret);
void file_poison(struct read_file *f, const struct error *cause);
/* How loading a chunk for a reader ended. */
void file_note_load(struct read_file *f, int code, const struct error *err);

#endif
