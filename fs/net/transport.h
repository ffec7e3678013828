/*
 * transport.h: which servers may be contacted without TLS. Every request is checked here before a
 * connection is made for it. Pure functions. Thread-safe.
 *
 * Plain http reaches: loopback addresses (127.0.0.0/8, ::1, and "localhost" and names below it,
 * whose addresses are checked again when they are known); what the user named in the option
 * allow-http; the fixed addresses of a peer that has such; everything for evidence, which is
 * signed. Plain http never goes through a proxy: the
 * proxy would be one more place without TLS.
 */
#ifndef SEALEDFS_NET_TRANSPORT_H
#define SEALEDFS_NET_TRANSPORT_H

#include "crypto/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

/* Whom a request is for, if not a service that the user has configured (NULL). Never by a proxy. */
struct transport_peer {
	const char *const *hosts; /* that are asked without TLS; an IPv6 address in brackets; the
				   * last is NULL. NULL: none */
	const char *only;	  /* these only, in words: what allow-http names does not count */
};

/*
 * Anybody, about himself: the answer carries its own signature, no secret is sent, and the caller
 * compares the TLS key with what was signed. So plain http reaches everywhere, and with TLS any
 * certificate is taken and returned.
 */
extern const struct transport_peer transport_evidence;

enum transport {
	TRANSPORT_REFUSED,
	TRANSPORT_TLS,
	TRANSPORT_LOOPBACK, /* http; connect to loopback addresses only */
	TRANSPORT_PLAIN,    /* http */
};

/* HOST[:PORT] as users name them. Borrowed. */
struct transport_hosts {
	const char *const *items;
	size_t count;
};

enum transport transport_judge(const char *url, const struct transport_peer *peer,
			       const struct transport_hosts *allowed);
bool transport_is_loopback(const struct sockaddr *address);
/* -EINVAL when the url, configured in what, may not be asked. */
int transport_check(const char *url, const char *what, const struct transport_peer *peer,
		    const struct transport_hosts *allowed, struct error *err);
/* A value of the option allow-http. -EINVAL. */
int transport_check_host(const char *host, struct error *err);

#endif
