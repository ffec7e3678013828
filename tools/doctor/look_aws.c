/*
 * Findings: region, keys, clock, whether the servers answer, and whether the bucket lets this role
 * list and read. Asks with the mount's configuration and this process's keys, which are not shown.
 */
#include "fs/aws/reach.h"
#include "fs/aws/s3.h"
#include "fs/source/source.h"
#include "tools/doctor/doctor.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define CLOCK_MAX_S 300 /* AWS refuses from 900 on */
#define S3_PREFIX "s3://"

struct place {
	char *key; /* of one object there */
};

static bool needs_kms(const struct doctor *d)
{
	return d->config.attest != CONFIG_ATTEST_NONE &&
	       (d->config.keyfiles.count == 0 || d->config.kms_keys.count > 0);
}

static void look_clock(struct doctor *d, int64_t ahead_s)
{
	if (d->clock_told || (ahead_s <= CLOCK_MAX_S && ahead_s >= -CLOCK_MAX_S))
		return;
	d->clock_told = true;
	doctor_find(d, FINDING_CLOCK, "this machine's clock is %lld s %s that of AWS",
		    (long long)(ahead_s < 0 ? -ahead_s : ahead_s),
		    ahead_s > 0 ? "behind" : "ahead of");
}

/* True when the service answers. */
static bool look_service(struct doctor *d, struct aws *a, enum aws_service service)
{
	struct aws_reach reach = {0};
	struct error e = {0};
	int r = aws_reach(a, service, &reach, &e);

	if (r < 0) {
		doctor_find(d,
			    service == AWS_SERVICE_S3 ? FINDING_S3_UNREACHABLE
						      : FINDING_KMS_UNREACHABLE,
			    "%s", error_text(&e, r));
		return false;
	}
	doctor_note(d, "%s answered after %u ms", reach.url, reach.answer_ms);
	look_clock(d, reach.clock_ahead_s);
	return true;
}

/* Keys and metadata together: without the one the other is needed. */
static bool look_keys(struct doctor *d, struct aws *a)
{
	struct error keys_error = {0}, e = {0};
	const char *source = NULL;
	bool lasting = false;
	struct aws_reach reach;
	int keys = aws_key_source(a, &source, &lasting, &keys_error);
	int metadata = aws_reach_metadata(a, &reach, &e);

	if (metadata == 0)
		doctor_note(d, "%s answered after %u ms", reach.url, reach.answer_ms);
	else if (keys < 0 && metadata != -EINVAL)
		doctor_find(d, FINDING_IMDS_UNREACHABLE, "%s", error_text(&e, metadata));
	if (keys < 0) {
		doctor_find(d, FINDING_CREDENTIALS_MISSING, "%s", error_text(&keys_error, keys));
		return false;
	}
	doctor_note(d, "the keys for AWS come from: %s", source);
	if (lasting)
		doctor_find(d, FINDING_CREDENTIALS_LASTING, "the keys from %s never expire",
			    source);
	return true;
}

static int take_key(void *arg, const struct s3_object *object)
{
	struct place *p = arg;

	if (!p->key && object->size > 0)
		p->key = strdup(object->key);
	return 0;
}

static void look_object(struct doctor *d, struct s3 *s, const char *key)
{
	struct error e = {0};
	uint8_t byte;
	int r = s3_get_range(s, key, NULL, 0, 1, &byte, &e);

	if (r == -EACCES)
		doctor_find(d, FINDING_BUCKET_GET, "%s", error_text(&e, r));
	else if (r < 0)
		doctor_find(d, FINDING_PLACE, "%s", error_text(&e, r));
}

static void look_bucket(struct doctor *d, struct aws *a)
{
	const char *spec = d->config.source + strlen(S3_PREFIX);
	size_t n = endpoint_bucket_size(spec);
	_cleanup_free_ char *bucket = strndup(spec, n);
	_cleanup_(s3_freep) struct s3 *s = NULL;
	_cleanup_free_ char *prefix = NULL;
	struct place place = {0};
	struct error e = {0};
	int r;

	spec += n;
	spec += *spec == '/';
	n = strlen(spec);
	if (!bucket || asprintf(&prefix, "%s%s", spec, n && spec[n - 1] != '/' ? "/" : "") < 0) {
		prefix = NULL;
		return;
	}
	r = s3_new(a, bucket, &s, &e);
	if (r == 0)
		r = s3_list_some(s, prefix, take_key, &place, &e);
	if (r == -EACCES)
		doctor_find(d, FINDING_BUCKET_LIST, "%s", error_text(&e, r));
	else if (r < 0)
		doctor_find(d, FINDING_PLACE, "%s", error_text(&e, r));
	else if (!place.key)
		doctor_find(d, FINDING_PLACE, "%s holds nothing", d->config.source);
	if (place.key)
		look_object(d, s, place.key);
	look_clock(d, aws_clock_offset_s(a));
	free(place.key);
}

static void look_folder(struct doctor *d)
{
	_cleanup_(source_freep) struct source *source = NULL;
	struct source_listing listing = {0};
	struct error e = {0};
	int r = source_open(d->config.source, NULL, false, &source, &e);

	if (r == 0)
		r = source_list(source, NULL, &listing, &e);
	if (r < 0)
		doctor_find(d, FINDING_PLACE, "%s", error_text(&e, r));
	else if (listing.count == 0 && listing.skipped_count == 0)
		doctor_find(d, FINDING_PLACE, "%s holds no sealed model", d->config.source);
	source_listing_clear(&listing);
}

/* The mount's options, not those of sealctl. */
int doctor_open_aws(struct doctor *d, struct aws **ret, struct error *err)
{
	const struct config *c = &d->config;

	d->cli->aws_options = (struct aws_options){
		.region = c->region,
		.profile = c->profile,
		.s3_endpoint = c->s3_endpoint,
		.kms_endpoint = c->kms_endpoint,
		.allow_http = {(const char *const *)c->allow_http.items, c->allow_http.count},
		.path_style = c->path_style,
		.anonymous = c->anonymous,
		.request_payer = c->request_payer,
	};
	return cli_aws(d->cli, ret, err);
}

void doctor_look_aws(struct doctor *d)
{
	bool s3, kms, keys;
	char region[ENDPOINT_REGION_MAX];
	struct aws *a = NULL;
	struct error e = {0};
	int r;

	if (!d->has_config)
		return;
	if (!d->live) {
		doctor_skip(d, "%s and AWS: a tree is not a machine that runs", d->config.source);
		return;
	}
	s3 = source_spec_is_s3(d->config.source);
	kms = needs_kms(d);
	if (!s3)
		look_folder(d);
	if (!s3 && !kms)
		return;
	r = doctor_open_aws(d, &a, &e);
	if (r == 0)
		r = aws_region(a, region, &e);
	if (r < 0) {
		doctor_find(d, FINDING_REGION, "%s", error_text(&e, r));
		return;
	}
	doctor_note(d, "region: %s", region);
	keys = (d->config.anonymous && !kms) || look_keys(d, a);
	s3 = s3 && look_service(d, a, AWS_SERVICE_S3);
	if (kms)
		(void)look_service(d, a, AWS_SERVICE_KMS);
	if (s3 && keys)
		look_bucket(d, a);
	else if (source_spec_is_s3(d->config.source))
		doctor_skip(d, "what %s permits: it cannot be asked", d->config.source);
}
