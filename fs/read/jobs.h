/*
 * jobs.h: one piece of background work on a file (background.h lists the kinds and picks them).
 * Private to fs/read. Threads: any.
 */
#ifndef SEALEDFS_READ_JOBS_H
#define SEALEDFS_READ_JOBS_H

#include <stddef.h>
#include <stdint.h>

struct buffer;
struct read_file;

struct job {
	enum { JOB_NONE, JOB_DECRYPT, JOB_REST, JOB_FILL, JOB_MAP } kind;
	struct read_file *file;
	uint64_t chunk;	       /* JOB_DECRYPT, JOB_FILL: which the page cache lets us push */
	struct buffer *buffer; /* JOB_REST: loaded and pinned, with its reserved place */
	uint64_t wait_ms;      /* JOB_NONE: when to look again; 0: when something changes */
};

/*
 * The caller holds no lock. Negative: JOB_FILL: no more of this file; JOB_REST: pause for a while.
 * Failures of the other kinds are ignored.
 */
int job_do(const struct job *job);
/* Gives the buffer of a JOB_REST back. served: bytes of it that the kernel was given. */
void job_give_back(const struct job *job, size_t served);

#endif
