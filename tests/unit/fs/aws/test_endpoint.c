/* fs/aws/endpoint: AWS's partitions, S3's addressing, and URLs that are no endpoints. */
#include "fs/aws/endpoint.h"

#include "crypto/base/cleanup.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

static void services_of_all_partitions(void **state)
{
	static const struct {
		const char *service, *region;
		bool fips, dualstack;
		const char *url;
	} cases[] = {
		{"kms", "eu-west-1", false, false, "https://kms.eu-west-1.amazonaws.com"},
		{"kms", "eu-west-1", true, false, "https://kms-fips.eu-west-1.amazonaws.com"},
		{"kms", "eu-west-1", false, true, "https://kms.eu-west-1.api.aws"},
		{"kms", "eu-west-1", true, true, "https://kms-fips.eu-west-1.api.aws"},
		{"kms", "cn-north-1", false, false, "https://kms.cn-north-1.amazonaws.com.cn"},
		{"kms", "cn-north-1", false, true,
		 "https://kms.cn-north-1.api.amazonwebservices.com.cn"},
		{"kms", "us-gov-west-1", true, false,
		 "https://kms-fips.us-gov-west-1.amazonaws.com"},
		{"kms", "eusc-de-east-1", false, false, "https://kms.eusc-de-east-1.amazonaws.eu"},
		{"kms", "us-iso-east-1", false, false, "https://kms.us-iso-east-1.c2s.ic.gov"},
		{"kms", "us-isob-east-1", false, false, "https://kms.us-isob-east-1.sc2s.sgov.gov"},
		{"kms", "eu-isoe-west-1", false, false,
		 "https://kms.eu-isoe-west-1.cloud.adc-e.uk"},
		{"kms", "us-isof-south-1", false, false,
		 "https://kms.us-isof-south-1.csp.hci.ic.gov"},
		{"sts", "eu-west-1", false, false, "https://sts.eu-west-1.amazonaws.com"},
		{"sts", "us-east-1", true, false, "https://sts-fips.us-east-1.amazonaws.com"},
		{"sts", "us-gov-west-1", true, false, "https://sts.us-gov-west-1.amazonaws.com"},
		{"sts", "cn-north-1", false, false, "https://sts.cn-north-1.amazonaws.com.cn"},
		{"sts", "eu-west-1", false, true, "https://sts.eu-west-1.api.aws"},
		{"s3", "ap-south-1", false, false, "https://s3.ap-south-1.amazonaws.com"},
		{"s3", "ap-south-1", false, true, "https://s3.dualstack.ap-south-1.amazonaws.com"},
		{"s3", "us-east-1", true, true,
		 "https://s3-fips.dualstack.us-east-1.amazonaws.com"},
		{"s3", "cn-north-1", false, true,
		 "https://s3.dualstack.cn-north-1.amazonaws.com.cn"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct endpoint_params p = {.service = cases[i].service,
						  .region = cases[i].region,
						  .fips = cases[i].fips,
						  .dualstack = cases[i].dualstack};
		_cleanup_free_ char *url = NULL;

		assert_int_equal(endpoint_url(&p, &url), 0);
		assert_string_equal(url, cases[i].url);
	}
}

static void buckets_in_host_or_path(void **state)
{
	static const struct {
		const char *override, *bucket;
		enum endpoint_style style;
		const char *url;
	} cases[] = {
		{NULL, "weights", ENDPOINT_STYLE_AUTO,
		 "https://weights.s3.eu-west-1.amazonaws.com"},
		{NULL, "weights", ENDPOINT_STYLE_PATH,
		 "https://s3.eu-west-1.amazonaws.com/weights"},
		/* The certificate's wildcard covers one label. */
		{NULL, "a.b", ENDPOINT_STYLE_VIRTUAL, "https://s3.eu-west-1.amazonaws.com/a.b"},
		{NULL, "Old_Bucket", ENDPOINT_STYLE_AUTO,
		 "https://s3.eu-west-1.amazonaws.com/Old_Bucket"},
		{NULL, "ab", ENDPOINT_STYLE_AUTO, "https://s3.eu-west-1.amazonaws.com/ab"},
		{"http://minio:9000", "weights", ENDPOINT_STYLE_AUTO, "http://minio:9000/weights"},
		{"http://minio:9000", "weights", ENDPOINT_STYLE_VIRTUAL,
		 "http://weights.minio:9000"},
		{"http://minio:9000", "a.bc", ENDPOINT_STYLE_VIRTUAL, "http://a.bc.minio:9000"},
		{"https://minio/base", "weights", ENDPOINT_STYLE_VIRTUAL,
		 "https://weights.minio/base"},
		{"https://minio/base", "weights", ENDPOINT_STYLE_PATH,
		 "https://minio/base/weights"},
		{"http://127.0.0.1:80", "weights", ENDPOINT_STYLE_VIRTUAL,
		 "http://127.0.0.1:80/weights"},
		{"http://[::1]:80", "weights", ENDPOINT_STYLE_VIRTUAL, "http://[::1]:80/weights"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct endpoint_params p = {
			.service = "s3", .region = "eu-west-1", .override = cases[i].override};
		_cleanup_free_ char *url = NULL;

		assert_int_equal(endpoint_bucket_url(&p, cases[i].bucket, cases[i].style, &url), 0);
		assert_string_equal(url, cases[i].url);
	}
}

static void names_that_are_refused(void **state)
{
	static const char *const buckets[] = {"",    ".",   "..",  "a/b", "a b",  "a?b",
					      "a#b", "a%b", "a@b", "a:b", "\x01", "a\nb"};
	static const char *const regions[] = {"",	 "-a",	     "a-",	  "EU-WEST-1",
					      "eu west", "a.b.com/", "evil.com#", "a\nb"};
	struct endpoint_params p = {.service = "s3", .region = "eu-west-1"};
	char long_name[300];
	char *url = NULL;

	for (size_t i = 0; i < ARRAY_LEN(buckets); i++)
		assert_int_equal(endpoint_bucket_url(&p, buckets[i], ENDPOINT_STYLE_AUTO, &url),
				 -EINVAL);
	memset(long_name, 'a', 256);
	long_name[256] = '\0';
	assert_false(endpoint_bucket_valid(long_name));
	long_name[ENDPOINT_REGION_MAX] = '\0';
	assert_false(endpoint_region_valid(long_name));
	for (size_t i = 0; i < ARRAY_LEN(regions); i++) {
		p.region = regions[i];
		assert_int_equal(endpoint_url(&p, &url), -EINVAL);
	}
	assert_null(url);
}

static void hosts_of_special_buckets(void **state)
{
	static const struct {
		struct endpoint_params p;
		const char *bucket, *url; /* NULL: refused */
	} cases[] = {
		{{.region = "us-west-2"},
		 "w--usw2-az1--x-s3",
		 "https://w--usw2-az1--x-s3.s3express-usw2-az1.us-west-2.amazonaws.com"},
		{{.region = "us-west-2", .fips = true},
		 "a--b--usw2-az1--x-s3",
		 "https://a--b--usw2-az1--x-s3.s3express-fips-usw2-az1.us-west-2.amazonaws.com"},
		/* An access point of one. */
		{{.region = "us-west-2"},
		 "prod--usw2-az1--xa-s3",
		 "https://prod--usw2-az1--xa-s3.s3express-usw2-az1.us-west-2.amazonaws.com"},
		{{.region = "us-west-2"}, "w--x-s3", NULL},
		{{.region = "us-west-2", .override = "http://h"},
		 "w--z--x-s3",
		 "http://h/w--z--x-s3"},
		{{.region = "us-west-2", .accelerate = true},
		 "weights",
		 "https://weights.s3-accelerate.amazonaws.com"},
		{{.region = "us-west-2", .accelerate = true}, "a.b.c", NULL},
		{{.region = "us-west-2", .accelerate = true, .override = "http://h"},
		 "weights",
		 "http://h/weights"},
		/* An access point by its alias is a bucket like any other. */
		{{.region = "us-west-2"},
		 "ap-hrzrlukc5m36ft7okagglf3gmwluquse1b-s3alias",
		 "https://ap-hrzrlukc5m36ft7okagglf3gmwluquse1b-s3alias.s3.us-west-2.amazonaws.com"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct endpoint_params p = cases[i].p;
		_cleanup_free_ char *url = NULL;
		int r;

		p.service = "s3";
		r = endpoint_bucket_url(&p, cases[i].bucket, ENDPOINT_STYLE_AUTO, &url);
		assert_int_equal(r, cases[i].url ? 0 : -EINVAL);
		if (cases[i].url)
			assert_string_equal(url, cases[i].url);
	}
}

#define AP "arn:aws:s3:us-west-2:111122223333:accesspoint"

static void access_points(void **state)
{
	static const struct {
		struct endpoint_params p;
		const char *bucket, *url; /* NULL: refused */
	} cases[] = {
		{{0},
		 AP "/prod",
		 "https://prod-111122223333.s3-accesspoint.us-west-2.amazonaws.com"},
		{{0},
		 AP ":prod",
		 "https://prod-111122223333.s3-accesspoint.us-west-2.amazonaws.com"},
		/* The ARN's region, not the one that is configured. */
		{{.region = "eu-west-1", .dualstack = true},
		 AP "/prod",
		 "https://prod-111122223333.s3-accesspoint.dualstack.us-west-2.amazonaws.com"},
		{{.fips = true},
		 AP "/a-1",
		 "https://a-1-111122223333.s3-accesspoint-fips.us-west-2.amazonaws.com"},
		{{0},
		 "arn:aws-cn:s3:cn-north-1:111122223333:accesspoint/prod",
		 "https://prod-111122223333.s3-accesspoint.cn-north-1.amazonaws.com.cn"},
		{{.override = "http://localhost:9000/base"},
		 AP "/prod",
		 "http://prod-111122223333.localhost:9000/base"},
		{{.override = "http://127.0.0.1:9000"}, AP "/prod", NULL},
		{{.override = "http://[::1]:9000"}, AP "/prod", NULL},
		{{.accelerate = true}, AP "/prod", NULL},
		{{0}, AP, NULL},
		{{0}, AP "/", NULL},
		{{0}, AP "/prod/", NULL},
		{{0}, AP "/prod/object", NULL},
		{{0}, AP "/a.b", NULL},
		{{0}, AP "/Prod", NULL},
		{{0}, AP "/-a", NULL},
		{{0}, AP "/a-", NULL},
		{{0}, AP "/a:b", NULL},
		{{0}, AP "/a@evil.com#", NULL},
		{{0}, AP "/abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz", NULL},
		{{0}, "arn:aws-cn:s3:us-west-2:111122223333:accesspoint/prod", NULL},
		{{0}, "arn:aws:s3:us-west-2:11112222333:accesspoint/prod", NULL},
		{{0}, "arn:aws:s3:us-west-2::accesspoint/prod", NULL},
		{{0}, "arn:aws:s3:US-west-2:111122223333:accesspoint/prod", NULL},
		{{0}, "arn:aws:s3::111122223333:accesspoint/mfzwi23gnjvgw.mrap", NULL},
		{{0}, "arn:aws:s3::111122223333:accesspoint/mfzwi23gnjvgw", NULL},
		{{0},
		 "arn:aws:s3-outposts:us-west-2:111122223333:outpost/op-1/accesspoint/a",
		 NULL},
		{{0}, "arn:aws:s3-object-lambda:us-west-2:111122223333:accesspoint/a", NULL},
		{{0}, "arn:aws:s3:::weights", NULL},
		{{0}, "arn:aws:s3", NULL},
		{{0}, "arn:", NULL},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct endpoint_params p = cases[i].p;
		_cleanup_free_ char *url = NULL;
		int r;

		p.service = "s3";
		if (!p.region)
			p.region = "us-west-2";
		/* No style makes a path of it. */
		for (int style = ENDPOINT_STYLE_AUTO; style <= ENDPOINT_STYLE_VIRTUAL; style++) {
			free(steal_ptr(url));
			r = endpoint_bucket_url(&p, cases[i].bucket, (enum endpoint_style)style,
						&url);
			if (r != (cases[i].url ? 0 : -EINVAL))
				print_message("%s\n", cases[i].bucket);
			assert_int_equal(r, cases[i].url ? 0 : -EINVAL);
			if (cases[i].url)
				assert_string_equal(url, cases[i].url);
		}
	}
}

static void bucket_and_prefix(void **state)
{
	static const struct {
		const char *spec, *prefix;
	} cases[] = {
		{"weights", ""},
		{"weights/a/b", "/a/b"},
		{"", ""},
		{"/a", "/a"},
		{AP "/prod", ""},
		{AP "/prod/a/b", "/a/b"},
		{AP ":prod/a/b", "/a/b"},
		{"arn:aws:s3:::weights/a", ""},
		{"arn:x/a", "/a"},
	};

	assert_int_equal(endpoint_bucket_size(cases[0].spec), 7);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_string_equal(cases[i].spec + endpoint_bucket_size(cases[i].spec),
				    cases[i].prefix);
}

/* Other servers have names of their own; in a host name of AWS's they would lead elsewhere. */
static void regions_of_other_servers(void **state)
{
	static const char *const names[] = {"RegionOne", "GRA", "eu_west", "Default"};
	static const char *const bad[] = {"", "a.b", "a/b", "a b", "a@b", "a\n"};
	struct endpoint_params p = {.service = "s3"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		_cleanup_free_ char *url = NULL;

		p.region = names[i];
		p.override = NULL;
		assert_int_equal(endpoint_url(&p, &url), -EINVAL);
		p.override = "https://h";
		assert_int_equal(endpoint_url(&p, &url), 0);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(endpoint_region_plain(bad[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(services_of_all_partitions),
		cmocka_unit_test(buckets_in_host_or_path),
		cmocka_unit_test(names_that_are_refused),
		cmocka_unit_test(hosts_of_special_buckets),
		cmocka_unit_test(access_points),
		cmocka_unit_test(bucket_and_prefix),
		cmocka_unit_test(regions_of_other_servers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
