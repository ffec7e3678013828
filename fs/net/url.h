/*
 * url.h: http and https URLs (RFC 3986): checking configured ones, and finding the host. Pure
 * functions. Thread-safe.
 */
#ifndef SEALEDFS_NET_URL_H
#define SEALEDFS_NET_URL_H

#include "crypto/base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* Where HOST[:PORT] is in a URL. Without "://" the URL starts with it. */
void url_authority(const char *url, size_t *ret_offset, size_t *ret_size);
/* An IPv4 address, or anything in brackets. */
bool url_host_is_address(const char *url);
/*
 * Checks a configured URL: http or https, a host, an optional port and path, nothing else. *ret is
 * the URL without '/' at its end and in lower case except for the path, malloc()ed. what: for the
 * message. -EINVAL, -ENOMEM.
 */
int url_check(const char *url, const char *what, char **ret, struct error *err);
/* HOST[:PORT] as URLs have it, without user and password; size bytes. -EINVAL. */
int url_check_authority(const char *authority, size_t size);
/* The Host header of a URL: without the port if it is the scheme's own. malloc()ed. */
char *url_host(const char *url);

#endif
