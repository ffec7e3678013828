/*
 * route.h: how servers are reached from a machine that has no network, as a Nitro Enclave: through
 * sockets to its parent. Option net=. Pure functions. Thread-safe.
 *
 *	vsock:CID:PORT			an HTTP proxy there (CONNECT), for every server
 *	HOST[:PORT]@vsock:CID:PORT	a forwarder to that server there, as AWS's vsock-proxy; also
 *for names below HOST; PORT of the server: 443 unix:PATH, HOST[:PORT]@unix:PATH	the same at
 *a Unix socket
 */
#ifndef SEALEDFS_NET_ROUTE_H
#define SEALEDFS_NET_ROUTE_H

#include "crypto/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#define ROUTE_HOST_MAX 256

struct route {
	char host[ROUTE_HOST_MAX]; /* "": any, by a proxy */
	char port[8];
	struct sockaddr_storage to;
	socklen_t to_size;
	const char *place; /* "vsock:3:8001", in the text that was parsed */
};

/* -EINVAL. *ret points into text. */
int route_parse(const char *text, struct route *ret, struct error *err);
/* A forwarder for host and port, else the proxy, else NULL. host: without brackets. */
const struct route *route_find(const struct route *routes, size_t count, const char *host,
			       const char *port);

#endif
