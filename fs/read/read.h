/*
 * read.h: plaintext of one sealed file, checked before it is visible. The boundary behind which
 * the read path may be rebuilt for speed; ops.c knows nothing else.
 *
 * A read_engine is shared by all files of a mount: a fixed pool of workers and one memory budget.
 * A read_file is one unlocked model. Single flight: a chunk is fetched, decrypted and checked once,
 * however many readers want it at that moment.
 *
 * Errors of read_file_read: -EBADMSG tampered or wrong key, -ESTALE changed on the server, network
 * errors as http.h (after one more fetch from the origin). After -EBADMSG or -ESTALE the file is
 * poisoned: every later read fails at once with the same error. Threads: any.
 */
#ifndef SEALEDFS_READ_H
#define SEALEDFS_READ_H

#include "crypto/chunk.h"
#include "fs/read/stats.h"
#include "fs/source/source.h"

struct read_engine;
struct read_file;

/* Whether models are put into the kernel's page cache before somebody asks for them (fill.h). */
enum read_fill { READ_FILL_OFF, READ_FILL_AUTO, READ_FILL_ALL };

/*
 * Gives the kernel plaintext of the file that target stands for. Waits for reads of the same pages
 * that are under way. -ENOENT: the kernel does not know the file; any other error ends the filling
 * of it.
 */
typedef int read_store(void *target, uint64_t offset, const uint8_t *data, size_t size);

struct read_engine_options {
	size_t memory_bytes;   /* budget for all buffers; 0: 256 MiB, at least 32 MiB */
	size_t reserved_bytes; /* what of it others take; at least 32 MiB are left */
	unsigned workers;      /* 0: number of CPUs */
	bool ahead;	       /* decrypt ahead of readers in order (ahead.h) */
	enum read_fill fill;
	read_store *store; /* NULL: nothing is filled */
	/* Makes the kernel know the file; may be NULL. Never called by a thread that answers
	 * requests. */
	int (*introduce)(void *target);
};

enum chunk_check {
	CHUNK_CHECK_TAG,	 /* the tag only: declared, none */
	CHUNK_CHECK_VERITY,	 /* tag and hash table */
	CHUNK_CHECK_FINGERPRINT, /* tag and the fingerprint taken while hashing: flat modes */
};

struct read_file_options {
	struct source *source;	  /* must outlive the file */
	const char *payload_name; /* copied */
	const char *version;	  /* copied; If-Match */
	const char *label;	  /* copied; for messages */
	struct seal *seal;	  /* with tables; owned by the file from here on, also on failure */
	struct seal_keys *keys;	  /* likewise */
	enum chunk_check check;
};

int read_engine_new(const struct read_engine_options *options, struct read_engine **ret);
void read_engine_free(struct read_engine *e);
/* Makes every read, now and later, end soon with -ECANCELED: before a shutdown. */
void read_engine_stop(struct read_engine *e);
/* False: after wait_ms something is still being given to the kernel. */
bool read_engine_idle(struct read_engine *e, unsigned wait_ms);
/* The origin asks to be left alone (503 SlowDown): fewer requests at a time. */
void read_engine_throttled(struct read_engine *e);

int read_file_new(struct read_engine *e, const struct read_file_options *options,
		  struct read_file **ret, struct error *err);
void read_file_free(struct read_file *f);
/* What the engine's store() is given for this file. Before anything is read. */
void read_file_set_target(struct read_file *f, void *target);
/* Somebody has opened it, again or for the first time. */
void read_file_opened(struct read_file *f);

/*
 * The flat pass: reads the whole file once in order, fills sha256 and sha384 (either may be NULL)
 * and takes the fingerprint of each chunk. Must precede any read with CHUNK_CHECK_FINGERPRINT.
 */
int read_file_hash(struct read_file *f, uint8_t sha256[SHA256_SIZE], uint8_t sha384[SHA384_SIZE],
		   struct error *err);

/*
 * Plaintext pieces that stay valid (pinned in the engine's buffers) until read_result_clear().
 * Short only at end of file; count 0 at or past it. size is at most SEAL_EXTENT_SIZE.
 */
#define READ_PIECES_MAX 18
struct read_result {
	struct read_piece {
		const uint8_t *data;
		size_t size;
		void *pin;
	} pieces[READ_PIECES_MAX];
	size_t count;
	bool answering;
	struct read_file *file;
	bool jumped; /* it does not follow the request before */
};
int read_file_read(struct read_file *f, uint64_t offset, size_t size, struct read_result *ret,
		   struct error *err);
void read_result_clear(struct read_result *r);
/* The same, after an answer that went by way of the page cache: what a small request has left of
 * its chunk may be put there, too. */
void read_result_spread(struct read_result *r);
/* Never blocks. */
struct stats *read_file_stats(struct read_file *f);
/* The budget and what of it is taken by requests and fetches now; what all files did. */
struct read_engine_state {
	size_t chunk_bytes, chunk_bytes_in_use;
	size_t extent_bytes, extent_bytes_in_use;
	struct stats_snapshot stats;
};
void read_engine_look(struct read_engine *e, struct read_engine_state *ret);
/* 0 while healthy, else the error that poisoned the file. */
int read_file_poisoned(struct read_file *f, struct error *err);

DEFINE_CLEANUP(struct read_engine *, read_engine_free)
DEFINE_CLEANUP(struct read_file *, read_file_free)

#endif
