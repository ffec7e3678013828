/*
 * serve_listen.h: the socket that the evidence endpoint listens on.
 */
#ifndef SEALEDFS_TOOLS_SERVE_LISTEN_H
#define SEALEDFS_TOOLS_SERVE_LISTEN_H

#include "crypto/base/error.h"

#define SERVE_PLACE_SIZE 128

/*
 * place: "ADDR:PORT" ("127.0.0.1:8470", "[::]:80"; port 0: any free one), or "unix:PATH", whose
 * socket every user of the machine may use and which replaces one that nobody listens on. *ret_fd
 * is the caller's; out: where it really listens. -EINVAL; -EADDRINUSE; -errno.
 */
int serve_listen(const char *place, int *ret_fd, char out[SERVE_PLACE_SIZE], struct error *err);
/* PATH of "unix:PATH"; NULL: it is another place. */
const char *serve_unix_path(const char *place);

#endif
