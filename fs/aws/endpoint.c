/*
 * Endpoints. Job: build the URL from region, bucket and configuration. The tables are AWS's
 * partitions. Input is configuration, and a region may come from a server's answer: every part of a
 * host name is checked first.
 */
#include "fs/aws/endpoint.h"

#include "fs/net/text.h"
#include "fs/net/url.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

/* Partitions by the first letters of their regions; the last row takes the rest. */
static const struct partition {
	const char *prefix;
	const char *name; /* in ARNs */
	const char *suffix;
	const char *dualstack_suffix;
} partitions[] = {
	{"cn-", "aws-cn", "amazonaws.com.cn", "api.amazonwebservices.com.cn"},
	{"us-gov-", "aws-us-gov", "amazonaws.com", "api.aws"},
	{"eusc-", "aws-eusc", "amazonaws.eu", "api.amazonwebservices.eu"},
	{"us-iso-", "aws-iso", "c2s.ic.gov", "c2s.ic.gov"},
	{"us-isob-", "aws-iso-b", "sc2s.sgov.gov", "sc2s.sgov.gov"},
	{"eu-isoe-", "aws-iso-e", "cloud.adc-e.uk", "cloud.adc-e.uk"},
	{"us-isof-", "aws-iso-f", "csp.hci.ic.gov", "csp.hci.ic.gov"},
	{"", "aws", "amazonaws.com", "api.aws"},
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

bool endpoint_region_plain(const char *region)
{
	size_t size = strlen(region);

	return size > 0 && size < ENDPOINT_REGION_MAX &&
	       strspn(region, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") ==
		       size;
}

static const struct partition *find_partition(const char *region)
{
	const struct partition *p = partitions;

	while (strncmp(region, p->prefix, strlen(p->prefix)) != 0)
		p++;
	return p;
}

const char *endpoint_partition(const char *region)
{
	return find_partition(region)->name;
}

const char *endpoint_suffix(const char *region, bool dualstack)
{
	const struct partition *p = find_partition(region);

	return dualstack ? p->dualstack_suffix : p->suffix;
}

int endpoint_url(const struct endpoint_params *p, char **ret)
{
	bool s3 = strcmp(p->service, "s3") == 0, fips = p->fips;
	_cleanup_text_ struct text out = {0};

	if (!(p->override ? endpoint_region_plain : endpoint_region_valid)(p->region))
		return -EINVAL;
	if (p->override) {
		text_append(&out, p->override);
	} else {
		/* GovCloud's ordinary STS is a FIPS one, and has no other name. */
		if (strcmp(p->service, "sts") == 0 && strncmp(p->region, "us-gov-", 7) == 0)
			fips = false;
		/* S3 puts "dualstack" into the name and keeps the ordinary suffix. */
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

/* NAME--ZONE and one of these: a directory bucket, and an access point of one. */
static const char *const express_suffixes[] = {"--x-s3", "--xa-s3"};

static bool use_path_style(const struct endpoint_params *p, const char *base, const char *bucket,
			   enum endpoint_style style)
{
	if (style == ENDPOINT_STYLE_PATH || url_host_is_address(base) || !is_dns_name(bucket))
		return true;
	/* A dot in the name would not match the wildcard of S3's certificate. */
	if (strncmp(base, "https://", 8) == 0 && strchr(bucket, '.'))
		return true;
	return style == ENDPOINT_STYLE_AUTO && p->override;
}

/* The length of the name in front of the suffix; 0: there is none. */
static size_t express_stem(const char *bucket)
{
	size_t n = strlen(bucket);

	for (size_t i = 0; i < ARRAY_LEN(express_suffixes); i++) {
		size_t suffix = strlen(express_suffixes[i]);

		if (n > suffix && strcmp(bucket + n - suffix, express_suffixes[i]) == 0)
			return n - suffix;
	}
	return 0;
}

bool endpoint_bucket_is_express(const char *bucket)
{
	return express_stem(bucket) > 0;
}

/* s3 "Networking for directory buckets": NAME--ZONE--x-s3 has its zone's own host. */
static int express_url(const struct endpoint_params *p, const char *bucket, char **ret)
{
	size_t end = express_stem(bucket), zone = end;
	_cleanup_text_ struct text out = {0};

	while (zone > 1 && strncmp(bucket + zone - 2, "--", 2) != 0)
		zone--;
	if (zone < 2 || zone == end || !is_dns_name(bucket) || strchr(bucket, '.') ||
	    !endpoint_region_valid(p->region))
		return -EINVAL;
	text_printf(&out, "https://%s.s3express%s-%.*s.%s.%s", bucket, p->fips ? "-fips" : "",
		    (int)(end - zone), bucket + zone, p->region, endpoint_suffix(p->region, false));
	*ret = text_steal(&out);
	return *ret ? 0 : -ENOMEM;
}

/* An access point's ARN in its parts, which point into it. */
struct access_point {
	const char *partition, *region, *account, *name;
	size_t partition_size, region_size, account_size, name_size;
};

#define ARN_PREFIX "arn:"
#define ACCOUNT_DIGITS 12
#define LABEL_MAX 63

size_t endpoint_bucket_size(const char *spec)
{
	size_t size = strcspn(spec, "/");

	/* ARN's last field is TYPE/NAME or TYPE:NAME. */
	if (strncmp(spec, ARN_PREFIX, strlen(ARN_PREFIX)) == 0 && spec[size] == '/') {
		unsigned colons = 0;

		for (size_t i = 0; i < size; i++)
			colons += spec[i] == ':';
		if (colons == 5)
			size += 1 + strcspn(spec + size + 1, "/");
	}
	return size;
}

/* Up to one of the delimiters, which must be there unless they are "". */
static bool take_field(const char **at, const char *delimiters, const char *allowed,
		       const char **ret, size_t *ret_size)
{
	size_t size = strspn(*at, allowed);

	*ret = *at;
	*ret_size = size;
	*at += size;
	if (**at == '\0')
		return delimiters[0] == '\0';
	return delimiters[0] && strchr(delimiters, *(*at)++);
}

#define LABEL_CHARS "abcdefghijklmnopqrstuvwxyz0123456789-"

static int parse_access_point(const char *arn, struct access_point *ret)
{
	static const char type[] = "accesspoint";
	const char *at = arn + strlen(ARN_PREFIX), *word;
	size_t size;

	if (strncmp(arn, ARN_PREFIX, strlen(ARN_PREFIX)) != 0 ||
	    !take_field(&at, ":", LABEL_CHARS, &ret->partition, &ret->partition_size) ||
	    !take_field(&at, ":", LABEL_CHARS, &word, &size) || size != 2 ||
	    strncmp(word, "s3", 2) != 0 ||
	    !take_field(&at, ":", LABEL_CHARS, &ret->region, &ret->region_size) ||
	    !take_field(&at, ":", "0123456789", &ret->account, &ret->account_size) ||
	    !take_field(&at, ":/", LABEL_CHARS, &word, &size) || size != strlen(type) ||
	    strncmp(word, type, size) != 0 ||
	    !take_field(&at, "", LABEL_CHARS, &ret->name, &ret->name_size))
		return -EINVAL;
	if (ret->account_size != ACCOUNT_DIGITS || ret->name_size == 0 || ret->name[0] == '-' ||
	    ret->name[ret->name_size - 1] == '-' || ret->name_size + 1 + ACCOUNT_DIGITS > LABEL_MAX)
		return -EINVAL;
	return 0;
}

bool endpoint_is_arn(const char *bucket)
{
	return strncmp(bucket, ARN_PREFIX, strlen(ARN_PREFIX)) == 0;
}

int endpoint_arn_region(const char *arn, char ret[ENDPOINT_REGION_MAX])
{
	struct access_point ap = {0};

	if (parse_access_point(arn, &ap) < 0 || ap.region_size >= ENDPOINT_REGION_MAX)
		return -EINVAL;
	memcpy(ret, ap.region, ap.region_size);
	ret[ap.region_size] = '\0';
	/* An empty one is a multi-region access point's: those want another signature. */
	if (!endpoint_region_valid(ret) || strlen(endpoint_partition(ret)) != ap.partition_size ||
	    strncmp(endpoint_partition(ret), ap.partition, ap.partition_size) != 0)
		return -EINVAL;
	return 0;
}

/* s3 "Using access points": NAME-ACCOUNT is a label of the host, in the region of the ARN. */
static int access_point_url(const struct endpoint_params *p, const char *arn, char **ret)
{
	const char *base = p->override ? p->override : "https://";
	_cleanup_text_ struct text out = {0};
	char region[ENDPOINT_REGION_MAX];
	struct access_point ap = {0};
	size_t offset, size;

	if (endpoint_arn_region(arn, region) < 0 || parse_access_point(arn, &ap) < 0)
		return -EINVAL;
	if (p->override ? url_host_is_address(p->override) : p->accelerate)
		return -EINVAL;
	url_authority(base, &offset, &size);
	text_printf(&out, "%.*s%.*s-%.*s.", (int)offset, base, (int)ap.name_size, ap.name,
		    (int)ap.account_size, ap.account);
	if (p->override)
		text_append(&out, base + offset);
	else
		text_printf(&out, "s3-accesspoint%s.%s%s.%s", p->fips ? "-fips" : "",
			    p->dualstack ? "dualstack." : "", region,
			    endpoint_suffix(region, false));
	*ret = text_steal(&out);
	return *ret ? 0 : -ENOMEM;
}

int endpoint_bucket_url(const struct endpoint_params *p, const char *bucket,
			enum endpoint_style style, char **ret)
{
	_cleanup_free_ char *base = NULL;
	_cleanup_text_ struct text out = {0};
	size_t offset, size;
	int r;

	if (endpoint_is_arn(bucket))
		return access_point_url(p, bucket, ret);
	if (!endpoint_bucket_valid(bucket))
		return -EINVAL;
	if (p->accelerate && !p->override) {
		/* s3 "Transfer Acceleration": only for names that can be one label of a host. */
		if (!is_dns_name(bucket) || strchr(bucket, '.') ||
		    !endpoint_region_valid(p->region))
			return -EINVAL;
		text_printf(&out, "https://%s.s3-accelerate.%s%s", bucket,
			    p->dualstack ? "dualstack." : "", endpoint_suffix(p->region, false));
		*ret = text_steal(&out);
		return *ret ? 0 : -ENOMEM;
	}
	if (endpoint_bucket_is_express(bucket) && !p->override)
		return express_url(p, bucket, ret);
	r = endpoint_url(p, &base);
	if (r < 0)
		return r;
	url_authority(base, &offset, &size);
	text_append_n(&out, base, offset);
	if (use_path_style(p, base, bucket, style))
		text_printf(&out, "%s/%s", base + offset, bucket);
	else
		text_printf(&out, "%s.%s", bucket, base + offset);
	*ret = text_steal(&out);
	return *ret ? 0 : -ENOMEM;
}
