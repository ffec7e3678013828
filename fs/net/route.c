/*
 * Routes. Job: parse net=, and choose. Trusts the configuration for where they lead: what passes
 * there is TLS between this program and the server.
 */
#include "fs/net/route.h"

#include "crypto/base/encode.h"

#include <errno.h>
#include <linux/vm_sockets.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#define VSOCK "vsock:"
#define UNIX "unix:"

static int bad(const char *text, struct error *err)
{
	error_hint(err, "as in net=vsock:3:8001, or net=kms.us-east-1.amazonaws.com@vsock:3:8000");
	return error_set(err, -EINVAL,
			 "option net=%.200s: must be [HOST[:PORT]@]vsock:CID:PORT or unix:PATH",
			 text);
}

static int parse_vsock(const char *text, struct route *r)
{
	struct sockaddr_vm to = {.svm_family = AF_VSOCK};
	const char *colon = strchr(text, ':');
	char cid[12];
	uint64_t v, port;

	if (!colon || (size_t)(colon - text) >= sizeof(cid))
		return -EINVAL;
	memcpy(cid, text, (size_t)(colon - text));
	cid[colon - text] = '\0';
	if (number_parse(cid, 10, UINT32_MAX - 1, &v) < 0 ||
	    number_parse(colon + 1, 10, UINT32_MAX - 1, &port) < 0)
		return -EINVAL;
	to.svm_cid = (unsigned)v;
	to.svm_port = (unsigned)port;
	memcpy(&r->to, &to, sizeof(to));
	r->to_size = sizeof(to);
	return 0;
}

static int parse_unix(const char *path, struct route *r)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	size_t size = strlen(path);

	if (path[0] != '/' || size >= sizeof(to.sun_path))
		return -EINVAL;
	memcpy(to.sun_path, path, size + 1);
	memcpy(&r->to, &to, sizeof(to));
	r->to_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size + 1);
	return 0;
}

static int parse_server(const char *text, size_t size, struct route *r)
{
	const char *colon = memchr(text, ':', size);
	size_t host = colon ? (size_t)(colon - text) : size, port = size - host;
	uint64_t v;

	if (host == 0 || host >= sizeof(r->host) || port > sizeof(r->port))
		return -EINVAL;
	memcpy(r->host, text, host);
	r->host[host] = '\0';
	if (strspn(r->host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") !=
	    host)
		return -EINVAL;
	memcpy(r->port, "443", sizeof("443"));
	if (!colon)
		return 0;
	memcpy(r->port, colon + 1, port - 1);
	r->port[port - 1] = '\0';
	return number_parse(r->port, 10, UINT16_MAX, &v);
}

int route_parse(const char *text, struct route *ret, struct error *err)
{
	const char *at = strchr(text, '@'), *unix_path = strstr(text, UNIX "/");
	struct route r = {0};
	int code = 0;

	/* A path may have this character, too. */
	if (at && unix_path && unix_path < at)
		at = NULL;
	r.place = at ? at + 1 : text;
	if (at)
		code = parse_server(text, (size_t)(at - text), &r);
	if (code == 0 && strncmp(r.place, VSOCK, strlen(VSOCK)) == 0)
		code = parse_vsock(r.place + strlen(VSOCK), &r);
	else if (code == 0 && strncmp(r.place, UNIX, strlen(UNIX)) == 0)
		code = parse_unix(r.place + strlen(UNIX), &r);
	else
		code = -EINVAL;
	if (code < 0)
		return bad(text, err);
	*ret = r;
	return 0;
}

static bool is_below(const char *host, const char *name)
{
	size_t n = strlen(host), suffix = strlen(name);

	return strcasecmp(host, name) == 0 || (n > suffix + 1 && host[n - suffix - 1] == '.' &&
					       strcasecmp(host + n - suffix, name) == 0);
}

const struct route *route_find(const struct route *routes, size_t count, const char *host,
			       const char *port)
{
	const struct route *any = NULL, *best = NULL;

	for (size_t i = 0; i < count; i++) {
		const struct route *r = &routes[i];

		if (!r->host[0] && !any)
			any = r;
		if (r->host[0] && is_below(host, r->host) && strcmp(port, r->port) == 0 &&
		    (!best || strlen(r->host) > strlen(best->host)))
			best = r;
	}
	return best ? best : any;
}
