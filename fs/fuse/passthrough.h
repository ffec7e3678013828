/*
 * passthrough.h: FUSE passthrough: opens that the kernel serves from a memory file, without us. The
 * kernel's protocol is spoken here where libfuse does not speak it: 3.17 negotiates passthrough,
 * and Debian 12 has 3.14. Private to fs/fuse, but for the callbacks.
 */
#ifndef SEALEDFS_FUSE_PASSTHROUGH_H
#define SEALEDFS_FUSE_PASSTHROUGH_H

#include "fs/fuse/ops.h"

/*
 * In place of fuse_session_mount(): fd is the connection, libfuse's from here on. Asks the kernel
 * for passthrough, and tells c->residents what it answered. False: not with this libfuse; fd stays
 * the caller's.
 */
bool passthrough_start(struct ops_context *c, int fd);
/* As fuse_reply_open(), for a file that the kernel serves by this id of attach(). */
int passthrough_reply_open(fuse_req_t req, uint64_t handle, uint32_t id);

/* For struct residents_options; arg: struct ops_context. */
int passthrough_attach(void *arg, int fd, uint32_t *ret, struct error *err);
void passthrough_detach(void *arg, uint32_t id);

#endif
