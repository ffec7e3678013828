/*
 * resident_internal.h: what the files of fs/resident share.
 */
#ifndef SEALEDFS_RESIDENT_RESIDENT_INTERNAL_H
#define SEALEDFS_RESIDENT_RESIDENT_INTERNAL_H

#include "crypto/base/pool.h"
#include "fs/resident/image.h"
#include "fs/resident/resident.h"

#include <pthread.h>

/* One worker fills a huge page, so that no two clear it. */
#define EXTENT_CHUNKS 4
#define EXTENT_SIZE ((uint64_t)EXTENT_CHUNKS * SEAL_CHUNK_SIZE)

struct residents {
	struct residents_options options;
	struct pool *workers;
	unsigned worker_count;
	pthread_t manager;
	bool managed; /* the manager has been started */

	pthread_mutex_t lock; /* guards what follows, and every struct resident */
	pthread_cond_t changed;
	bool stopping, allowed;
	struct error obstacle;
	struct resident *first;	 /* all models */
	struct resident *active; /* being filled */
	uint64_t bytes;		 /* of all images */
	uint64_t turn;		 /* of the next model that waits */
	uint64_t room_ms;	 /* when memory was looked at */
	bool is_short;		 /* it was then */
};

enum chunk_state { CHUNK_ABSENT, CHUNK_LOADING, CHUNK_PRESENT };

struct resident {
	struct residents *set;
	struct resident *next;
	struct read_file *file;
	const char *label;
	uint64_t length, chunk_count;

	enum resident_state state;
	struct error why;
	bool held;		   /* the manager works on it without the lock */
	bool retired;		   /* never wanted again */
	bool leave;		   /* as soon as nothing is attached */
	bool tables;		   /* in use, for the fill */
	unsigned cached, attached; /* open files */
	unsigned users;		   /* reads that use the image */
	unsigned workers;	   /* jobs that fill */
	uint64_t read_bytes;	   /* since nobody had it open */
	uint64_t used_ms, turn, retry_ms;

	struct image *image;
	uint32_t id;		  /* of attach(); 0: not attached */
	uint8_t *chunks;	  /* enum chunk_state each */
	uint64_t present, cursor; /* chunks; an extent */
	uint64_t began_ms;
};

/* All of these with the lock. */

/* Memory that its image takes. */
uint64_t resident_size(const struct resident *r);
/* It will not become complete. */
void resident_fail(struct resident *r, int code, const struct error *err);
/* Starts the workers of r->image. */
int fill_start(struct resident *r, struct error *err);
/* Loads one chunk without the lock, and notes how that ended. */
void fill_chunk(struct resident *r, uint64_t chunk);
/* There is room for r's plaintext. -EAGAIN: another model leaves for it now; -EBUSY: one is
 * leaving, ask later; -ENOMEM. Without the lock in between. */
int room_make(struct resident *r, struct error *err);
/* Now and then: false: memory has become short. */
bool room_remains(struct residents *s);
/* The model to leave first; NULL: none may. */
struct resident *room_victim(struct residents *s);

#endif
