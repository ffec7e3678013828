/*
 * resident.h: models that lie in memory as a whole, decrypted once and checked, so that the kernel
 * serves their readers itself (FUSE passthrough). README.md has the rules.
 *
 * A struct residents is a mount's: one budget, one fill at a time on all cores, the least recently
 * used model leaves first, and never one that somebody has open. A struct resident is a model's,
 * from its unlocking on; most are not in memory. Threads: any; nothing here waits for a server
 * except resident_read(), and that for as long as read_file_read() would.
 */
#ifndef SEALEDFS_RESIDENT_RESIDENT_H
#define SEALEDFS_RESIDENT_RESIDENT_H

#include "fs/read/read.h"

struct residents;
struct resident;

/* So much of a model must be read before it is taken into memory, while somebody has it open:
 * headers of models, with what the kernel reads ahead, are smaller. */
#define RESIDENT_READ_BYTES (UINT64_C(32) << 20)
/* Memory that is always left to others, beside `reserve`. */
#define RESIDENT_MARGIN (UINT64_C(64) << 20)
/* After a model did not fit, or failed, readers do not make it try again for so long. */
#define RESIDENT_RETRY_MS 10000

struct residents_options {
	uint64_t limit;	  /* bytes of all models; UINT64_MAX: what memory allows */
	uint64_t reserve; /* bytes that the rest of the daemon may still take */
	/* Lets the kernel read a sealed memory file for readers of an inode that is opened with
	 * *ret, which is not 0. May wait for other processes. */
	int (*attach)(void *arg, int fd, uint32_t *ret, struct error *err);
	void (*detach)(void *arg, uint32_t id);
	void *arg;
};

/* Nothing becomes resident before residents_allow(). */
int residents_new(const struct residents_options *options, struct residents **ret,
		  struct error *err);
/* obstacle: why nothing can become resident here, with code below 0; NULL: it can. Copied, logged.
 */
void residents_allow(struct residents *s, const struct error *obstacle);
/* Fills end soon; nothing is attached or detached any more. */
void residents_stop(struct residents *s);
/* After residents_stop(). False: after wait_ms a fill has not ended. Else nothing begins any more.
 */
bool residents_idle(struct residents *s, unsigned wait_ms);
/* After residents_stop(), and without models. */
void residents_free(struct residents *s);

enum resident_state {
	RESIDENT_NOT,
	RESIDENT_WAITING, /* for its turn, and for room */
	RESIDENT_FILLING,
	RESIDENT_COMPLETE,
	RESIDENT_LEAVING,
	RESIDENT_STATE_COUNT
};

struct resident_look {
	enum resident_state state;
	uint64_t bytes;	   /* of its plaintext that are in memory */
	unsigned attached; /* open files that the kernel serves */
	struct error why;  /* why it is not, or no longer, in memory; code 0: nothing is known */
};

struct residents_look {
	uint64_t limit, bytes; /* as above; memory that models take */
	bool huge_pages;
	struct error obstacle; /* code 0: none */
};

/* file and label are borrowed, and outlive it. */
int resident_new(struct residents *s, struct read_file *file, const char *label,
		 struct resident **ret);
/* Nobody has it open. Waits for what is being filled. NULL is allowed. */
void resident_free(struct resident *r);

/*
 * How an open is to be answered: the number of attach() for passthrough, 0 for the page cache. It
 * counts until resident_closed() with the same answer, also if the reply does not get through.
 */
uint32_t resident_opened(struct resident *r);
void resident_closed(struct resident *r, bool attached);
/*
 * Plaintext from memory: *ret stays valid until resident_read_done(). A chunk that is not there yet
 * is loaded now. size is above 0, and the range inside the file. False: not from here, read it
 * with read_file_read(). Notes that somebody reads.
 */
bool resident_read(struct resident *r, uint64_t offset, uint64_t size, const uint8_t **ret);
void resident_read_done(struct resident *r);

/* Asks for it, also if it was not read. 0, or why that cannot be. */
int resident_want(struct resident *r, struct error *err);
/* It leaves as soon as no file is attached. True: nothing of it is in memory. */
bool resident_leave(struct resident *r);
/* It leaves, and is never wanted again: its file was replaced. */
void resident_retire(struct resident *r);

void resident_look(struct resident *r, struct resident_look *ret);
void residents_look(struct residents *s, struct residents_look *ret);

DEFINE_CLEANUP(struct residents *, residents_free)

#endif
