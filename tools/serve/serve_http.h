/*
 * serve_http.h: HTTP for the evidence endpoint, by libmicrohttpd: one request a connection, one
 * thread a connection, and everything bounded: connections, their time, headers, bodies.
 */
#ifndef SEALEDFS_TOOLS_SERVE_HTTP_H
#define SEALEDFS_TOOLS_SERVE_HTTP_H

#include "tools/serve/serve_answer.h"

#define SERVE_CONNECTIONS_MAX 64
#define SERVE_CONNECTIONS_OF_ADDRESS 16
#define SERVE_IDLE_S 10		  /* without a byte */
#define SERVE_CONNECTION_MS 60000 /* from the first byte to the last */
#define SERVE_HEADERS_MAX 16384	  /* bytes, with everything else that a connection needs */
#define SERVE_BODIES_MAX 4	  /* requests with bodies at once */

struct serve_http;

/* fd: listens; taken over. site: borrowed. -EIO; -ENOMEM. Threads inherit the caller's signals. */
int serve_http_start(int fd, struct serve_site *site, struct serve_http **ret, struct error *err);
/* To be called every few seconds: ends the connections whose time is over. */
void serve_http_expire(struct serve_http *h);
/* Takes no further connection, and ends when those that are there have their answers. Then frees
 * all. */
void serve_http_stop(struct serve_http *h);

#endif
