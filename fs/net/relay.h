/*
 * relay.h: connections of libcurl over sockets that it does not know. libcurl (7.88 to 8.14 at
 * least) refuses an address of AF_VSOCK, and 7.88 a socket that is connected already; so it
 * connects to a Unix socket in this process, and a thread carries the bytes. It sees TLS records
 * only.
 *
 * Threads: any, but relay_free() when nothing uses it. The first thread starts with the first
 * connection.
 */
#ifndef SEALEDFS_NET_RELAY_H
#define SEALEDFS_NET_RELAY_H

#include "fs/net/route.h"

struct relay;

/* places: values of net=, copied. -EINVAL; -EIO: no socket. */
int relay_new(const char *const *places, size_t count, struct relay **ret, struct error *err);
void relay_free(struct relay *r);
/* Where to connect to: a name in the abstract namespace. */
const char *relay_name(const struct relay *r);
/* -EHOSTUNREACH: no route leads to this server. authority: HOST:PORT. */
int relay_check(const struct relay *r, const char *authority, struct error *err);
/* A socket that is to be connected to relay_name(), and then leads to this server. Negative errno.
 */
int relay_socket(struct relay *r, const char *authority);
/* Why the last connection to this server could not be made; 0: it could. Forgets it. */
int relay_trouble(struct relay *r, const char *authority, struct error *err);

DEFINE_CLEANUP(struct relay *, relay_free)

#endif
