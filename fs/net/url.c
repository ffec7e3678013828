/*
 * Parts of URLs. Job: check URLs from a user, a file or the environment, and find the
 * host in a checked one. Accepts less than RFC 3986 allows. Must never accept a user, a password, a
 * query or a character that ends a line.
 */
#include "fs/net/url.h"

#include "crypto/base/cleanup.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

void url_authority(const char *url, size_t *offset, size_t *size)
{
	const char *start = strstr(url, "://");

	*offset = start ? (size_t)(start - url) + 3 : 0;
	*size = strcspn(url + *offset, "/?#");
}

bool url_host_is_address(const char *url)
{
	size_t offset, size;
	struct in_addr address;
	char host[64];

	url_authority(url, &offset, &size);
	if (url[offset] == '[')
		return true;
	size = strcspn(url + offset, ":/?#");
	if (size >= sizeof(host))
		return false;
	memcpy(host, url + offset, size);
	host[size] = '\0';
	return inet_pton(AF_INET, host, &address) == 1;
}

static int check_port(const char *colon, size_t size)
{
	unsigned port = 0;

	if (size < 2 || size > 6)
		return -EINVAL;
	for (size_t i = 1; i < size; i++) {
		if (!isdigit((unsigned char)colon[i]))
			return -EINVAL;
		port = port * 10 + (unsigned)(colon[i] - '0');
	}
	return port > 0 && port < 65536 ? 0 : -EINVAL;
}

/* Underscores occur in names of private networks. */
static bool is_host_char(char c)
{
	return isalnum((unsigned char)c) || (c && strchr("-_.", c));
}

int url_check_authority(const char *authority, size_t size)
{
	const char *colon;
	size_t host_size;

	if (size == 0)
		return -EINVAL;
	if (authority[0] == '[') {
		const char *end = memchr(authority, ']', size);

		if (!end)
			return -EINVAL;
		host_size = (size_t)(end - authority) + 1;
		for (size_t i = 1; i < host_size - 1; i++)
			if (!isxdigit((unsigned char)authority[i]) && !strchr(":.", authority[i]))
				return -EINVAL;
	} else {
		colon = memchr(authority, ':', size);
		host_size = colon ? (size_t)(colon - authority) : size;
		for (size_t i = 0; i < host_size; i++)
			if (!is_host_char(authority[i]))
				return -EINVAL;
	}
	if (host_size == 0 || host_size > 253)
		return -EINVAL;
	if (host_size == size)
		return 0;
	if (authority[host_size] != ':')
		return -EINVAL;
	return check_port(authority + host_size, size - host_size);
}

static bool is_path_char(char c)
{
	return isalnum((unsigned char)c) || (c && strchr("-_.~/%", c));
}

int url_check(const char *url, const char *what, char **ret, struct error *err)
{
	_cleanup_free_ char *copy = strdup(url);
	size_t offset, size, length = strlen(url);
	bool ok = strncasecmp(url, "http://", 7) == 0 || strncasecmp(url, "https://", 8) == 0;

	if (!copy)
		return error_set(err, -ENOMEM, "%s: out of memory", what);
	if (ok) {
		url_authority(copy, &offset, &size);
		ok = url_check_authority(copy + offset, size) == 0;
		for (const char *p = copy + offset + size; *p; p++)
			ok = ok && is_path_char(*p);
	}
	if (!ok) {
		error_hint(err, "give it as http://HOST[:PORT] or https://HOST[:PORT][/PATH]");
		return error_set(err, -EINVAL, "%s: not an endpoint URL: %.200s", what, url);
	}
	for (size_t i = 0; i < offset + size; i++)
		copy[i] = (char)tolower((unsigned char)copy[i]);
	while (length > offset + size && copy[length - 1] == '/')
		copy[--length] = '\0';
	*ret = steal_ptr(copy);
	return 0;
}

char *url_host(const char *url)
{
	const char *default_port = strncmp(url, "https:", 6) == 0 ? ":443" : ":80";
	size_t offset, size, tail = strlen(default_port);

	url_authority(url, &offset, &size);
	if (size > tail && strncmp(url + offset + size - tail, default_port, tail) == 0)
		size -= tail;
	return strndup(url + offset, size);
}
