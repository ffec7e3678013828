/*
 * input.h: plaintext, read once from start to end: a file, a pipe, a pipe that was spooled, or what
 * a reader gives.
 * One thread reads; input_cancel() may come from any.
 */
#ifndef SEALEDFS_TOOLS_INPUT_H
#define SEALEDFS_TOOLS_INPUT_H

#include "crypto/base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define INPUT_LENGTH_UNKNOWN UINT64_MAX

struct input;
struct progress;

/* Plaintext that is neither a file nor a pipe. All are called by the thread that reads. */
struct input_reader {
	/* As input_read(), of up to what is left of the length. */
	int (*read)(void *ctx, uint8_t *buf, size_t size, struct error *err);
	/* After the last byte: 0, or the reason why what was read must not be used. */
	int (*finish)(void *ctx, struct error *err);
	void (*free)(void *ctx);
};

/* "-" is standard input. A directory is -EISDIR. Waits for the writer of a FIFO. */
int input_open(const char *path, struct input **ret, struct error *err);
/* A copy of bytes in memory; label: as input_label(). */
int input_open_bytes(const char *label, const void *data, size_t size, struct input **ret,
		     struct error *err);
/* Takes ctx over, also on failure. length: bytes. */
int input_open_reader(const char *label, uint64_t length, const struct input_reader *reader,
		      void *ctx, struct input **ret);
void input_free(struct input *in);
/* Bytes from where it stands to its end; INPUT_LENGTH_UNKNOWN for a pipe without a promise. */
uint64_t input_length(const struct input *in);
/* "standard input", or the path. */
const char *input_label(const struct input *in);
/* Sets a pipe's length as the user gave it; for a file, -EINVAL if it is another. */
int input_promise_length(struct input *in, uint64_t length, struct error *err);
/* Reads a pipe to its end into an encrypted spool (spool.h); then its length is known. */
int input_spool(struct input *in, struct progress *progress, struct error *err);

/* Fills buf; *ret < size only at the end. -EINTR after input_cancel(). */
int input_read(struct input *in, uint8_t *buf, size_t size, size_t *ret, struct error *err);
/*
 * After input_length() bytes were read: 0 when the input ends there and nothing changed meanwhile;
 * else -ETXTBSY (a file changed), -ENODATA or -EOVERFLOW (a pipe broke its promise).
 */
int input_finish(struct input *in, struct error *err);
/* Makes a blocked or later input_read() return -EINTR. */
void input_cancel(struct input *in);

DEFINE_CLEANUP(struct input *, input_free)

#endif
