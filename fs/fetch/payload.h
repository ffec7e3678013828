/*
 * payload.h: the ciphertext of one model: an object of a source, in its known version. Part of
 * struct read_file; all code that fetches or predicts reads works on this.
 *
 * Threads: any; fields without a lock are set by payload_init() and do not change.
 */
#ifndef SEALEDFS_FETCH_PAYLOAD_H
#define SEALEDFS_FETCH_PAYLOAD_H

#include "fs/fetch/stats.h"
#include "fs/fetch/tensors.h"
#include "fs/source/source.h"

#include <pthread.h>
#include <stdatomic.h>

struct payload {
	struct source *source; /* must outlive it */
	char *name, *label;    /* of the object; for messages */
	uint64_t length, chunk_count;
	bool by_extents;       /* the source is remote: big requests are faster */
	struct stats *stats;   /* must outlive it */
	struct access access;  /* guarded by the lock of readers.c */
	atomic_bool abandoned; /* prefetching and decrypting ahead have ended */

	pthread_mutex_t lock;		  /* guards what follows */
	char version[SOURCE_VERSION_MAX]; /* If-Match; "": any */
};

/* The caller has set source, length, chunk_count, stats. name, version (NULL: any) and label are
 * copied. -ENOMEM; call payload_done() in any case. */
int payload_init(struct payload *p, const char *name, const char *version, const char *label);
void payload_done(struct payload *p);
/* Reads a range of the known version; fresh: from the origin. Errors of source_read(). */
int payload_read(struct payload *p, bool fresh, uint64_t offset, size_t size, uint8_t *buf,
		 struct error *err);
/* After -ESTALE: gets the object's version from the source and continues with it. -ESTALE: its
 * size is not the one that its seal states. */
int payload_renew(struct payload *p, struct error *err);
void payload_version(struct payload *p, char ret[SOURCE_VERSION_MAX]);

#endif
