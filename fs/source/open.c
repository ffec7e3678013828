/*
 * Opens a source. Job: pick the backend by the specification, and reject what looks like a URL and
 * is not one. The rest of source.h: listing.c and object.c.
 */
#include "crypto/name.h"
#include "fs/source/directory.h"
#include "fs/source/s3_source.h"

#include <errno.h>
#include <string.h>

#define S3_SCHEME "s3://"

bool source_spec_is_s3(const char *spec)
{
	return strncmp(spec, S3_SCHEME, strlen(S3_SCHEME)) == 0;
}

/* For these, a folder named "SCHEME:…" is implausible. */
static bool is_known_scheme(const char *scheme, size_t size)
{
	static const char *const known[] = {"arn", "s3", "s3a", "s3n", "http", "https", "gs"};

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (size == strlen(known[i]) && strncasecmp(scheme, known[i], size) == 0)
			return true;
	return false;
}

/* "s3:/x", "https://x", "arn:aws:s3:::x": RFC 3986 section 3.1, with what follows. */
static bool looks_like_url(const char *spec)
{
	static const char host[] = ".amazonaws.com";
	const char *aws = strstr(spec, host);
	size_t n = 0;

	/* "bucket.s3.amazonaws.com/x", "s3.eu-west-1.amazonaws.com.cn/bucket" */
	if (aws && strcspn(spec, "/") >= (size_t)(aws - spec) + strlen(host))
		return true;
	/* "s3//x", " s3://x": written in haste. What begins with '/' or '.' is a path. */
	if (strncasecmp(spec, "s3//", 4) == 0 || (!strchr("/.", spec[0]) && strstr(spec, "://")))
		return true;
	while ((spec[n] >= 'a' && spec[n] <= 'z') || (spec[n] >= 'A' && spec[n] <= 'Z') ||
	       (n > 0 &&
		((spec[n] >= '0' && spec[n] <= '9') || (spec[n] && strchr("+-.", spec[n])))))
		n++;
	return spec[n] == ':' && (spec[n + 1] == '/' || is_known_scheme(spec, n));
}

int source_check_spec(const char *spec, struct error *err)
{
	char printable[NAME_PRINTABLE_SIZE];

	if (spec[0] == '\0')
		return error_set(err, -EINVAL, "the source's name is empty");
	if (source_spec_is_s3(spec) || !looks_like_url(spec))
		return 0;
	name_printable(spec, printable);
	error_hint(err, "write s3://BUCKET/PREFIX for S3; a folder of that name is ./%s",
		   printable);
	return error_set(err, -EINVAL, "\"%s\" is neither a folder nor s3://BUCKET/PREFIX",
			 printable);
}

char *source_nearby(struct source *s)
{
	return s->ops->nearby ? s->ops->nearby(s) : NULL;
}

int source_open(const char *spec, struct aws *aws, bool create, struct source **ret,
		struct error *err)
{
	int r = source_check_spec(spec, err);

	if (r < 0)
		return r;
	if (source_spec_is_s3(spec))
		return s3_source_open(spec + strlen(S3_SCHEME), aws, ret, err);
	return directory_source_open(spec, create, ret, err);
}

void source_free(struct source *s)
{
	if (s)
		s->ops->free(s);
}

size_t source_preferred_size(const struct source *s)
{
	return s->ops->preferred_size;
}

char *source_describe(const struct source *s, const char *name)
{
	return s->ops->describe(s, name);
}
