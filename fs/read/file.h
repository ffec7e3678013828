/*
 * file.h: the inside of struct read_engine and struct read_file, for fs/read only.
 */
#ifndef SEALEDFS_READ_FILE_H
#define SEALEDFS_READ_FILE_H

#include "fs/read/access.h"
#include "fs/read/ahead.h"
#include "fs/read/buffers.h"
#include "fs/read/fetch.h"
#include "fs/read/fill.h"
#include "fs/read/pool.h"
#include "fs/read/read.h"
#include "fs/read/rest.h"
#include "fs/read/stats.h"

#include <pthread.h>
#include <stdatomic.h>

/*
 * How long a reader waits for somebody else's load of its chunk, or for room. Above two operations
 * of the network layer (each ends within its own deadline, 120 s), so that the loader's own error
 * arrives first.
 */
#define READ_WAIT_MS 270000

#define IDLE_CIPHERS_MAX 32

struct read_engine {
	struct buffer_cache *chunks; /* plaintext, SEAL_CHUNK_SIZE each */
	struct fetch *fetch;	     /* ciphertext */
	struct fill *fill;	     /* the page cache */
	struct ahead *ahead;	     /* plaintext, before it is asked for */
	struct rest *rest;	     /* of chunks, into the page cache */
	struct pool *workers;	     /* decrypt for the flat pass, and for single requests */
	unsigned worker_count;
	atomic_uint loading;   /* requests that load chunks at this moment */
	atomic_uint answering; /* readers' requests, until they are answered */
	struct stats *stats;   /* of all files */
	atomic_bool stopping;
};

struct read_file {
	struct read_engine *engine;
	struct source *source;
	char *payload_name, *version, *label;
	void *target; /* for the engine's store() */
	struct seal *seal;
	struct seal_keys *keys;
	enum chunk_check check;
	uint64_t length, chunk_count;
	bool by_extents;      /* the source likes big requests */
	struct access access; /* guarded by the lock of fetch.c */
	struct fill_file fill;
	atomic_bool opened;
	struct stats *stats;
	atomic_uint verity_chunks;  /* loaded, with check verity */
	atomic_uint hash_per_mille; /* of their time that is hashing */

	/* Flat modes: written by the pass, each entry by the worker that decrypts the chunk;
	 * immutable once hashed is set. */
	struct fingerprint_key *fingerprint_key;
	uint8_t *fingerprints; /* FINGERPRINT_SIZE each */
	bool hashed;

	pthread_mutex_t lock; /* guards what follows */
	struct chunk_cipher *idle_ciphers[IDLE_CIPHERS_MAX];
	unsigned idle_cipher_count;
	struct error poison;  /* code 0: healthy */
	atomic_bool poisoned; /* set after poison, read without the lock */
};

/* Fetches, decrypts and checks one chunk into b, with one more try from the origin; poisons the
 * file when that fails too. whole_extent: fetch its neighbours as well. */
int file_load_chunk(struct read_file *f, uint64_t index, bool whole_extent, struct buffer *b,
		    struct error *err);
/* The same for nobody who waits: one try, and whatever fails is -ECANCELED and poisons nothing. */
int file_load_ahead(struct read_file *f, uint64_t index, struct buffer *b);
/* As read_file_read(), for nobody who waits: it does not count as a reader. in_order: more will
 * be wanted behind it. */
int read_file_background(struct read_file *f, uint64_t offset, size_t size, bool in_order,
			 struct read_result *ret);
void file_poison(struct read_file *f, const struct error *cause);

#endif
