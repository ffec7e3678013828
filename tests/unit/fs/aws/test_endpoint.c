/* fs/net/endpoint: AWS's partitions, S3's addressing, and URLs that are no endpoints. */
#include "fs/net/endpoint.h"

#include "crypto/base/cleanup.h"
#include "tests/unit/base/test.h"

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

static void urls_are_checked(void **state)
{
	static const struct {
		const char *url, *normal; /* NULL: refused */
	} cases[] = {
		{"http://127.0.0.1:8080", "http://127.0.0.1:8080"},
		{"HTTPS://S3.Example.COM/Base/", "https://s3.example.com/Base"},
		{"http://[fd00:ec2::254]:80///", "http://[fd00:ec2::254]:80"},
		{"http://host-1.local", "http://host-1.local"},
		{"", NULL},
		{"localhost:80", NULL},
		{"ftp://h", NULL},
		{"file:///etc/passwd", NULL},
		{"http://", NULL},
		{"http:///path", NULL},
		{"http://user:pass@host", NULL},
		{"http://host:", NULL},
		{"http://host:0", NULL},
		{"http://host:65536", NULL},
		{"http://host:8o", NULL},
		{"http://host?x=1", NULL},
		{"http://host/#f", NULL},
		{"http://host/a b", NULL},
		{"http://ho\nst", NULL},
		{"http://[::1", NULL},
		{"http://[::1]x", NULL},
		{"http://[g::1]", NULL},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_free_ char *url = NULL;
		struct error err = {0};
		int r = endpoint_check_url(cases[i].url, "TEST", &url, &err);

		if (r != (cases[i].normal ? 0 : -EINVAL))
			print_message("%s\n", cases[i].url);
		assert_int_equal(r, cases[i].normal ? 0 : -EINVAL);
		if (cases[i].normal)
			assert_string_equal(url, cases[i].normal);
		else
			assert_non_null(strstr(err.message, "TEST"));
	}
}

static void hosts_drop_the_default_port(void **state)
{
	static const char *const cases[][2] = {
		{"http://a:80/b", "a"},	  {"https://a:443", "a"},	{"http://a:443/", "a:443"},
		{"https://a:80", "a:80"}, {"http://[::1]:80", "[::1]"}, {"http://a", "a"}};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_free_ char *host = endpoint_host(cases[i][0]);

		assert_string_equal(host, cases[i][1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(services_of_all_partitions),
		cmocka_unit_test(buckets_in_host_or_path),
		cmocka_unit_test(names_that_are_refused),
		cmocka_unit_test(urls_are_checked),
		cmocka_unit_test(hosts_drop_the_default_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
