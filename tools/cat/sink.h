/*
 * sink.h: where plaintext may go. Threads: one; sink_cancel() may come from any.
 */
#ifndef SEALEDFS_TOOLS_SINK_H
#define SEALEDFS_TOOLS_SINK_H

#include "crypto/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sink {
	int fd, cancel_fd;
	bool socket;
	bool own; /* fd is closed with the sink */
	const char *label;
};

/*
 * Standard output, if it is a pipe, a socket, a file in memory (tmpfs, memfd) or /dev/null.
 * -EINVAL: a terminal, a file on a disk, or another device.
 */
int sink_open_standard(struct sink *ret, struct error *err);
/* Takes fd, a file in memory. */
int sink_open_memory(int fd, struct sink *ret, struct error *err);
/* Waits until all of it is taken. -EINTR after sink_cancel(); -EPIPE: nobody reads any more. */
int sink_write(struct sink *s, const uint8_t *data, size_t size, struct error *err);
void sink_cancel(struct sink *s);
void sink_close(struct sink *s);

#define _cleanup_sink_ _cleanup_(sink_close)

#endif
