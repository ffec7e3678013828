/*
 * Endpoints. Job: from region, bucket and configuration to the URL to ask. The tables are AWS's
 * partitions. Input is configuration, and a region may come from a server's answer: whatever is
 * put into a host name was checked first.
 */
#include "fs/net/endpoint.h"

#include "fs/net/text.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

/* Partitions by the first letters of their regions; the last row takes the rest. */
static const struct partition {
	const char *prefix;
	const char *suffix;
	const char *dualstack_suffix;
} partitions[] = {
	{"cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn"},
	{"us-gov-", "amazonaws.com", "api.aws"},
	{"eusc-", "amazonaws.eu", "api.amazonwebservices.eu"},
	{"us-iso-", "c2s.ic.gov", "c2s.ic.gov"},
	{"us-isob-", "sc2s.sgov.gov", "sc2s.sgov.gov"},
	{"eu-isoe-", "cloud.adc-e.uk", "cloud.adc-e.uk"},
	{"us-isof-", "csp.hci.ic.gov", "csp.hci.ic.gov"},
	{"", "amazonaws.com", "api.aws"},
};

bool endpoint_region_valid(const char *region)
{
	size_t size = strlen(region);

	if (size == 0 || size >= ENDPOINT_REGION_MAX)
		return false;
	if (strspn(region, "abcdefghijklmnopqrstuvwxyz0123456789-") != size)
		return false;
	return region[0] != '-' && region[size - 1] != '-';
}

const char *endpoint_suffix(const char *region, bool dualstack)
{
	const struct partition *p = partitions;

	while (strncmp(region, p->prefix, strlen(p->prefix)) != 0)
		p++;
	return dualstack ? p->dualstack_suffix : p->suffix;
}

int endpoint_url(const struct endpoint_params *p, char **ret)
{
	bool s3 = strcmp(p->service, "s3") == 0, fips = p->fips;
	_cleanup_text_ struct text out = {0};

	if (!endpoint_region_valid(p->region))
		return -EINVAL;
	if (p->override) {
		text_append(&out, p->override);
	} else {
		/* GovCloud's ordinary STS is a FIPS one, and has no other name. */
		if (strcmp(p->service, "sts") == 0 && strncmp(p->region, "us-gov-", 7) == 0)
			fips = false;
		/* S3 says "dualstack" in the name and keeps the ordinary suffix. */
		text_printf(&out, "https://%s%s.%s%s.%s", p->service, fips ? "-fips" : "",
			    s3 && p->dualstack ? "dualstack." : "", p->region,
			    endpoint_suffix(p->region, p->dualstack && !s3));
	}
	*ret = text_steal(&out);
	return *ret ? 0 : -ENOMEM;
}

static bool is_bucket_char(char c)
{
	return isalnum((unsigned char)c) || c == '.' || c == '-' || c == '_';
}

bool endpoint_bucket_valid(const char *bucket)
{
	size_t size = strlen(bucket);

	if (size == 0 || size > 255 || strcmp(bucket, ".") == 0 || strcmp(bucket, "..") == 0)
		return false;
	for (size_t i = 0; i < size; i++)
		if (!is_bucket_char(bucket[i]))
			return false;
	return true;
}

/* May stand as the first label(s) of a host name. */
static bool is_dns_name(const char *bucket)
{
	size_t size = strlen(bucket);

	if (size < 3 || size > 63)
		return false;
	if (strspn(bucket, "abcdefghijklmnopqrstuvwxyz0123456789-.") != size)
		return false;
	return !strstr(bucket, "..") && !strchr("-.", bucket[0]) && !strchr("-.", bucket[size - 1]);
}

/* Host and port: offset and length within a URL. */
static void find_authority(const char *url, size_t *offset, size_t *size)
{
	const char *start = strstr(url, "://");

	*offset = start ? (size_t)(start - url) + 3 : 0;
	*size = strcspn(url + *offset, "/?#");
}

static bool host_is_address(const char *url)
{
	size_t offset, size;
	struct in_addr address;
	char host[64];

	find_authority(url, &offset, &size);
	if (url[offset] == '[')
		return true;
	size = strcspn(url + offset, ":/?#");
	if (size >= sizeof(host))
		return false;
	memcpy(host, url + offset, size);
	host[size] = '\0';
	return inet_pton(AF_INET, host, &address) == 1;
}

static bool use_path_style(const struct endpoint_params *p, const char *base, const char *bucket,
			   enum endpoint_style style)
{
	if (style == ENDPOINT_STYLE_PATH || host_is_address(base) || !is_dns_name(bucket))
		return true;
	/* A dot in the name would not match the wildcard of S3's certificate. */
	if (strncmp(base, "https://", 8) == 0 && strchr(bucket, '.'))
		return true;
	return style == ENDPOINT_STYLE_AUTO && p->override;
}

int endpoint_bucket_url(const struct endpoint_params *p, const char *bucket,
			enum endpoint_style style, char **ret)
{
	_cleanup_free_ char *base = NULL;
	_cleanup_text_ struct text out = {0};
	size_t offset, size;
	int r;

	if (!endpoint_bucket_valid(bucket))
		return -EINVAL;
	r = endpoint_url(p, &base);
	if (r < 0)
		return r;
	find_authority(base, &offset, &size);
	text_append_n(&out, base, offset);
	if (use_path_style(p, base, bucket, style))
		text_printf(&out, "%s/%s", base + offset, bucket);
	else
		text_printf(&out, "%s.%s", bucket, base + offset);
	*ret = text_steal(&out);
	return *ret ? 0 : -ENOMEM;
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

static int check_authority(const char *authority, size_t size)
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
			if (!is_bucket_char(authority[i]))
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

int endpoint_check_url(const char *url, const char *what, char **ret, struct error *err)
{
	_cleanup_free_ char *copy = strdup(url);
	size_t offset, size, length = strlen(url);
	bool ok = strncasecmp(url, "http://", 7) == 0 || strncasecmp(url, "https://", 8) == 0;

	if (!copy)
		return error_set(err, -ENOMEM, "%s: out of memory", what);
	if (ok) {
		find_authority(copy, &offset, &size);
		ok = check_authority(copy + offset, size) == 0;
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

char *endpoint_host(const char *url)
{
	const char *default_port = strncmp(url, "https:", 6) == 0 ? ":443" : ":80";
	size_t offset, size, tail = strlen(default_port);

	find_authority(url, &offset, &size);
	if (size > tail && strncmp(url + offset + size - tail, default_port, tail) == 0)
		size -= tail;
	return strndup(url + offset, size);
}
