/*
 * read.h: plaintext of one sealed file, checked before it is visible. The only interface of the
 * read path; the code behind it may be rebuilt for speed.
 *
 * A read_engine is shared by all files of a mount: a fixed pool of workers and one memory budget.
 * A read_file is one unlocked model. Single flight: a chunk is fetched, decrypted and checked once,
 * even if several readers request it at once.
 *
 * Errors of read_file_read: -EBADMSG tampered or wrong key, -ESTALE another size on the server,
 * network errors as http.h (after one more fetch from the origin). After -EBADMSG the file is
 * poisoned: every later read fails at once with the same error. If a payload is replaced by the
 * same bytes, in another version, reads continue. Threads: any.
 */
#ifndef SEALEDFS_READ_H
#define SEALEDFS_READ_H

#include "crypto/chunk.h"
#include "fs/fetch/stats.h"
#include "fs/read/budget.h"
#include "fs/source/source.h"

struct read_engine;
struct read_file;

/* Whether models are put into the kernel's page cache before they are read (background.h). */
enum read_fill { READ_FILL_OFF, READ_FILL_AUTO, READ_FILL_ALL };

/*
 * Gives the kernel plaintext of the file that target identifies. Waits for current reads of the
 * same pages. -ENOENT: the kernel does not know the file; any other error ends its filling.
 */
typedef int read_store(void *target, uint64_t offset, const uint8_t *data, size_t size);

struct read_engine_options {
	struct budget budget;
	/* Memory of others within the budget; the engine's until it is freed. NULL: none. */
	struct allowance *kept;
	unsigned workers; /* 0: number of CPUs */
	bool ahead;	  /* decrypt ahead of readers in order (background.h) */
	enum read_fill fill;
	read_store *store; /* NULL: nothing is filled */
	/* Makes the kernel know the file; may be NULL. Never called by a thread that answers
	 * requests. */
	int (*introduce)(void *target);
};

enum chunk_check {
	CHUNK_CHECK_TAG,	 /* the tag only: declared, none */
	CHUNK_CHECK_VERITY,	 /* tag and hash table */
	CHUNK_CHECK_FINGERPRINT, /* flat modes. In the pass: tag and hash table; after it: tag and
				  * the fingerprint that the pass took */
};

struct read_file_options {
	struct source *source;	  /* must outlive the file */
	const char *payload_name; /* copied */
	const char *version;	  /* copied; If-Match, until the object has a newer one */
	const char *label;	  /* copied; for messages */
	struct seal *seal;	  /* owned by the file from here on, also on failure */
	struct seal_keys *keys;	  /* likewise */
	/* Where the tables are; copied. NULL: the seal has its tables, and keeps them. */
	const char *seal_name, *seal_version;
	/* Where its writer will put the seal if it is not there; copied; NULL: it stays. */
	const char *seal_later;
	enum chunk_check check;
	/* The flat pass refuses a plaintext that begins with this text; static; NULL: none. */
	const char *refused_beginning;
};

int read_engine_new(const struct read_engine_options *options, struct read_engine **ret);
/* False: plaintext may reach swap, for the limit on locked memory is too small. */
bool read_engine_is_locked(const struct read_engine *e);
void read_engine_free(struct read_engine *e);
/* Makes every read, now and later, end soon with -ECANCELED: before a shutdown. */
void read_engine_stop(struct read_engine *e);
/* False: after wait_ms something is still being given to the kernel. */
bool read_engine_idle(struct read_engine *e, unsigned wait_ms);
/* The origin has answered 503 SlowDown: fewer requests at a time. */
void read_engine_throttled(struct read_engine *e);

int read_file_new(struct read_engine *e, const struct read_file_options *options,
		  struct read_file **ret, struct error *err);
void read_file_free(struct read_file *f);
/* What the engine's store() is given for this file. Before anything is read. */
void read_file_set_target(struct read_file *f, void *target);
/*
 * Before anything is read, and until read_file_unuse(): the file's tables are there. Reads them,
 * and waits for that. head: the seal object's first bytes, where they are at hand; else NULL and 0.
 * -ENOBUFS: the budget does not suffice; the message states how much is needed. -EBADMSG: they
 * differ from the sealed ones.
 */
int read_file_use(struct read_file *f, const void *head, size_t head_size, struct error *err);
/* The same if nothing has to be read for it. Never waits. */
bool read_file_try_use(struct read_file *f);
void read_file_unuse(struct read_file *f);
/* Somebody has opened it, again or for the first time. */
void read_file_opened(struct read_file *f);

/* The mount shows it from now on; it was opened before, when the kernel could not be given any of
 * it. */
void read_file_shown(struct read_file *f);

/*
 * The flat pass: reads the whole file once in order, fills sha256 and sha384 (either may be NULL)
 * and takes the fingerprint of each chunk. Must precede any read with CHUNK_CHECK_FINGERPRINT.
 * -ENOKEY: it begins with refused_beginning.
 */
int read_file_hash(struct read_file *f, uint8_t sha256[SHA256_SIZE], uint8_t sha384[SHA384_SIZE],
		   struct error *err);

/*
 * One chunk into memory of the caller's, which has SEAL_CHUNK_SIZE bytes, or what is left of the
 * file: fetched, decrypted and checked. While tables are in use. It counts as a reader in order.
 * After an error nothing readable is left there; errors as read_file_read().
 */
int read_file_load(struct read_file *f, uint64_t chunk, uint8_t *to, struct error *err);
uint64_t read_file_length(const struct read_file *f);
/* What is not done ahead of its readers from now on, because they are, or will be, served from
 * elsewhere. */
enum read_kept_out {
	READ_KEEPS_NOTHING_OUT,
	READ_KEEPS_FILL_OUT, /* filling the page cache with all of it */
	READ_KEEPS_ALL_OUT,  /* any push, and decrypting ahead */
};
void read_file_keep_out(struct read_file *f, enum read_kept_out what);

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
/* The same, after an answer that went through the page cache: the rest of a small request's chunk
 * may be put there, too. */
void read_result_spread(struct read_result *r);
/* Never blocks. */
struct stats *read_file_stats(struct read_file *f);
/* The seal that it was made from, as long as the file. */
const struct seal *read_file_seal(const struct read_file *f);
/* The budget and what of it is taken by requests and fetches now; what all files did. */
struct read_engine_state {
	size_t chunk_bytes, chunk_bytes_in_use;
	size_t kept_bytes; /* of the chunks', by listings and tables */
	size_t extent_bytes, extent_bytes_in_use;
	struct stats_snapshot stats;
};
void read_engine_look(struct read_engine *e, struct read_engine_state *ret);
/* 0, or the error of the last chunk that a reader requested, if it failed other than by tampering.
 */
int read_file_trouble(struct read_file *f, struct error *err);
/* 0 while healthy, else the error that poisoned the file. */
int read_file_poisoned(struct read_file *f, struct error *err);

DEFINE_CLEANUP(struct read_engine *, read_engine_free)
DEFINE_CLEANUP(struct read_file *, read_file_free)

#endif
