/*
 * TLS or not. Job: decide from a URL whether it may be requested. Trusts what the user wrote into
 * the option allow-http, and no other text: a URL can come from the environment or a profile file.
 * Must never take a name for an address because it looks like one.
 */
#include "fs/net/transport.h"

#include "fs/net/url.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

#define HOST_MAX 256

const struct transport_peer transport_evidence = {0};

struct place {
	char host[HOST_MAX]; /* an IPv6 address in brackets */
	char port[8];
};

/* "HOST", "HOST:PORT", "[V6]", "[V6]:PORT". */
static int split(const char *text, size_t size, const char *default_port, struct place *ret)
{
	const char *port = default_port;
	size_t host, port_size = strlen(default_port);

	if (url_check_authority(text, size) < 0)
		return -EINVAL;
	host = text[0] == '[' ? strcspn(text, "]") + 1 : strcspn(text, ":/?#");
	host = MIN(host, size);
	if (host < size) {
		port = text + host + 1;
		port_size = size - host - 1;
	}
	if (host >= sizeof(ret->host) || port_size >= sizeof(ret->port))
		return -EINVAL;
	memcpy(ret->host, text, host);
	ret->host[host] = '\0';
	memcpy(ret->port, port, port_size);
	ret->port[port_size] = '\0';
	return 0;
}

static bool is_loopback_v4(const struct in_addr *a)
{
	return ntohl(a->s_addr) >> 24 == IN_LOOPBACKNET;
}

bool transport_is_loopback(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET)
		return is_loopback_v4(&((const struct sockaddr_in *)address)->sin_addr);
	return address->sa_family == AF_INET6 &&
	       IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
}

/* True for name and for what ends in ".name"; no address has names below it. */
static bool is_below(const char *host, const char *name)
{
	size_t n = strlen(host), suffix = strlen(name);

	if (strcasecmp(host, name) == 0)
		return true;
	return n > suffix + 1 && host[n - suffix - 1] == '.' && name[0] != '[' &&
	       !isdigit((unsigned char)name[suffix - 1]) &&
	       strcasecmp(host + n - suffix, name) == 0;
}

static bool is_loopback(const char *host)
{
	struct in_addr v4;

	if (inet_pton(AF_INET, host, &v4) == 1)
		return is_loopback_v4(&v4);
	return strcmp(host, "[::1]") == 0 || is_below(host, "localhost");
}

static bool is_own(const char *host, const struct transport_peer *peer)
{
	for (const char *const *own = peer ? peer->hosts : NULL; own && *own; own++)
		if (strcasecmp(host, *own) == 0)
			return true;
	return false;
}

static bool is_allowed(const struct place *place, const struct transport_hosts *allowed)
{
	struct place one;

	for (size_t i = 0; allowed && i < allowed->count; i++)
		if (split(allowed->items[i], strlen(allowed->items[i]), place->port, &one) == 0 &&
		    is_below(place->host, one.host) && strcmp(place->port, one.port) == 0)
			return true;
	return false;
}

enum transport transport_judge(const char *url, const struct transport_peer *peer,
			       const struct transport_hosts *allowed)
{
	struct place place;

	if (strncasecmp(url, "https://", 8) == 0)
		return TRANSPORT_TLS;
	if (strncasecmp(url, "http://", 7) != 0 ||
	    split(url + 7, strcspn(url + 7, "/?#"), "80", &place) < 0)
		return TRANSPORT_REFUSED;
	if (is_loopback(place.host))
		return TRANSPORT_LOOPBACK;
	if (peer == &transport_evidence || is_own(place.host, peer))
		return TRANSPORT_PLAIN;
	return !(peer && peer->only) && is_allowed(&place, allowed) ? TRANSPORT_PLAIN
								    : TRANSPORT_REFUSED;
}

int transport_check(const char *url, const char *what, const struct transport_peer *peer,
		    const struct transport_hosts *allowed, struct error *err)
{
	if (transport_judge(url, peer, allowed) != TRANSPORT_REFUSED)
		return 0;
	if (peer && peer->only)
		return error_set(err, -EINVAL,
				 "%s: %.200s: only https, loopback and %s may be asked", what, url,
				 peer->only);
	error_hint(err, "use https, or permit this server with the option allow-http=HOST[:PORT] "
			"(sealctl: --allow-http)");
	return error_set(err, -EINVAL,
			 "%s: %.200s: plain http would send keys where others can read them", what,
			 url);
}

int transport_check_host(const char *host, struct error *err)
{
	struct place place;

	if (split(host, strlen(host), "80", &place) == 0)
		return 0;
	return error_set(err, -EINVAL, "allow-http: \"%.200s\" must be HOST or HOST:PORT", host);
}
