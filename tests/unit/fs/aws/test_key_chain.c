/* fs/aws/key_chain, keys, config and container: where keys and settings come from, and which win.
 */
#include "fs/aws/key_chain.h"

#include "fs/aws/config.h"
#include "fs/net/http.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

static char dir[] = "/tmp/sealedfs-keys.XXXXXX";
static char config_path[64], credentials_path[64];

static void write_file(const char *path, const char *text)
{
	_cleanup_fclose_ FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
}

/* Nothing of the caller's environment, no IMDS, empty files. */
static int clean_environment(void **state)
{
	static const char *const names[] = {"AWS_ACCESS_KEY_ID",
					    "AWS_SECRET_ACCESS_KEY",
					    "AWS_SESSION_TOKEN",
					    "AWS_SECURITY_TOKEN",
					    "AWS_CA_BUNDLE",
					    "CURL_CA_BUNDLE",
					    "AWS_WEB_IDENTITY_TOKEN_FILE",
					    "AWS_ROLE_ARN",
					    "AWS_STS_REGIONAL_ENDPOINTS",
					    "AWS_PROFILE",
					    "AWS_DEFAULT_PROFILE",
					    "AWS_REGION",
					    "AWS_DEFAULT_REGION",
					    "AWS_ENDPOINT_URL",
					    "AWS_ENDPOINT_URL_S3",
					    "AWS_ENDPOINT_URL_KMS",
					    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
					    "AWS_MAX_ATTEMPTS",
					    "AWS_USE_FIPS_ENDPOINT",
					    "AWS_USE_DUALSTACK_ENDPOINT",
					    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
					    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
					    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
					    "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
					    "AWS_METADATA_SERVICE_TIMEOUT",
					    "AWS_METADATA_SERVICE_NUM_ATTEMPTS"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		unsetenv(names[i]);
	setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
	setenv("AWS_CONFIG_FILE", config_path, 1);
	setenv("AWS_SHARED_CREDENTIALS_FILE", credentials_path, 1);
	write_file(config_path, "");
	write_file(credentials_path, "");
	return 0;
}

static int get(const struct aws_options *options, struct credentials **ret, struct error *err)
{
	_cleanup_(aws_config_clear) struct aws_config config = {0};
	_cleanup_(http_client_freep) struct http_client *http = NULL;
	_cleanup_(credential_chain_freep) struct credential_chain *chain = NULL;
	int r = aws_config_load(options, &config, err);

	if (r < 0)
		return r;
	assert_int_equal(http_client_new(&http), 0);
	assert_int_equal(credential_chain_new(&config, http, NULL, &chain), 0);
	return credential_chain_get(chain, NULL, ret, err);
}

static void assert_keys(const struct aws_options *options, const char *id, const char *source)
{
	_cleanup_(credentials_unrefp) struct credentials *c = NULL;
	struct error err = {0};
	int r = get(options, &c, &err);

	if (r < 0)
		print_message("%s\n", err.message);
	assert_int_equal(r, 0);
	assert_string_equal(c->access_key_id, id);
	assert_string_equal(c->source, source);
}

static void assert_no_keys(const struct aws_options *options, int code, const char *words)
{
	struct credentials *c = NULL;
	struct error err = {0};

	assert_int_equal(get(options, &c, &err), code);
	assert_null(c);
	if (!strstr(err.message, words))
		print_message("%s\n", err.message);
	assert_non_null(strstr(err.message, words));
}

static void environment_comes_first(void **state)
{
	write_file(credentials_path, "[default]\naws_access_key_id=F\naws_secret_access_key=s\n"
				     "[other]\naws_access_key_id=O\naws_secret_access_key=s\n");
	assert_keys(NULL, "F", "profile");
	setenv("AWS_ACCESS_KEY_ID", "E", 1);
	assert_no_keys(NULL, -EINVAL, "AWS_SECRET_ACCESS_KEY");
	setenv("AWS_SECRET_ACCESS_KEY", "s", 1);
	assert_keys(NULL, "E", "environment");
	setenv("AWS_PROFILE", "other", 1);
	assert_keys(NULL, "E", "environment");
	/* A profile that was asked for explicitly outranks the environment. */
	assert_keys(&(struct aws_options){.profile = "other"}, "O", "profile");
	unsetenv("AWS_ACCESS_KEY_ID");
	assert_no_keys(NULL, -EINVAL, "AWS_ACCESS_KEY_ID is not");
	unsetenv("AWS_SECRET_ACCESS_KEY");
	assert_keys(NULL, "O", "profile");
}

static void malformed_keys_are_refused(void **state)
{
	static const char *const bad[] = {"a b", "a/b", "a\nb", "caf\xc3\xa9"};

	setenv("AWS_SECRET_ACCESS_KEY", "s", 1);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		setenv("AWS_ACCESS_KEY_ID", bad[i], 1);
		assert_no_keys(NULL, -EINVAL, "malformed");
	}
	setenv("AWS_ACCESS_KEY_ID", "E", 1);
	setenv("AWS_SESSION_TOKEN", "tok\r\nX-Evil: 1", 1);
	assert_no_keys(NULL, -EINVAL, "malformed");
}

static void profiles_that_give_no_keys(void **state)
{
	write_file(config_path, "[profile half]\naws_access_key_id=H\n"
				"[profile role]\nrole_arn=arn:x\nsource_profile=half\n"
				"[profile sso]\nsso_session=s\n");
	assert_no_keys(NULL, -EINVAL, "no AWS credentials");
	assert_no_keys(&(struct aws_options){.profile = "absent"}, -EINVAL, "absent");
	assert_no_keys(&(struct aws_options){.profile = "half"}, -EINVAL, "half");
	assert_no_keys(&(struct aws_options){.profile = "role"}, -EINVAL, "half");
	assert_no_keys(&(struct aws_options){.profile = "sso"}, -EINVAL, "sso-session s");
	write_file(credentials_path, "[default\n");
	assert_no_keys(NULL, -EINVAL, ":1:");
}

#define GOOD_JSON                                                                    \
	"{\"Code\":\"Success\",\"AccessKeyId\":\"ASIA1\",\"SecretAccessKey\":\"s\"," \
	"\"Token\":\"t\",\"Expiration\":\"2026-01-02T03:04:05Z\"}"

static void json_answers(void **state)
{
	static const struct {
		const char *json;
		int code;
	} bad[] = {
		{"", -EREMOTEIO},
		{"[]", -EREMOTEIO},
		{"{}", -EREMOTEIO},
		{"{\"Code\":\"AssumeRoleUnauthorizedAccess\",\"Message\":\"m\"}", -EKEYREJECTED},
		{"{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\",\"Token\":\"t\"}", -EREMOTEIO},
		{"{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\","
		 "\"Expiration\":\"2026-01-02T03:04:05Z\"}",
		 -EREMOTEIO},
		{"{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\",\"Token\":\"t\","
		 "\"Expiration\":\"soon\"}",
		 -EREMOTEIO},
		{"{\"AccessKeyId\":\"A B\",\"SecretAccessKey\":\"s\",\"Token\":\"t\","
		 "\"Expiration\":\"2026-01-02T03:04:05Z\"}",
		 -EREMOTEIO},
		{"{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\",\"Token\":\"t\\r\\nx: y\","
		 "\"Expiration\":\"2026-01-02T03:04:05Z\"}",
		 -EREMOTEIO},
		{"{\"AccessKeyId\":[\"A\"],\"SecretAccessKey\":\"s\",\"Token\":\"t\","
		 "\"Expiration\":\"2026-01-02T03:04:05Z\"}",
		 -EREMOTEIO},
	};
	_cleanup_(credentials_unrefp) struct credentials *c = NULL;
	struct credentials *none = NULL;

	assert_int_equal(credentials_parse_json(GOOD_JSON, strlen(GOOD_JSON), "x", &c, NULL), 0);
	assert_string_equal(c->access_key_id, "ASIA1");
	assert_string_equal(c->session_token, "t");
	assert_int_equal(c->expires_s, 1767323045);
	assert_int_equal(secret_size(c->secret_key), 1);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct error err = {0};

		if (credentials_parse_json(bad[i].json, strlen(bad[i].json), "x", &none, &err) !=
		    bad[i].code)
			print_message("%s\n", bad[i].json);
		assert_int_equal(err.code, bad[i].code);
	}
	assert_null(none);
}

static void load(const struct aws_options *options, struct aws_config *ret)
{
	struct error err = {0};

	*ret = (struct aws_config){0};
	if (aws_config_load(options, ret, &err) < 0)
		print_message("%s\n", err.message);
	assert_int_equal(err.code, 0);
}

#define _cleanup_config_ _cleanup_(aws_config_clear)

static void settings_by_rank(void **state)
{
	_cleanup_config_ struct aws_config a, b, c, d;

	write_file(config_path, "[default]\nregion=p-1\nendpoint_url=https://profile\n"
				"services=dev\nuse_fips_endpoint=true\nmax_attempts=3\n"
				"s3 =\n  addressing_style = virtual\nca_bundle=/c\n"
				"[services dev]\nkms =\n  endpoint_url = https://svc/\n");
	load(NULL, &a);
	assert_string_equal(a.region, "p-1");
	assert_string_equal(a.endpoints[AWS_SERVICE_S3], "https://profile");
	assert_string_equal(a.endpoints[AWS_SERVICE_KMS], "https://svc");
	assert_true(a.fips);
	assert_int_equal(a.max_attempts, 3);
	assert_int_equal(a.style, ENDPOINT_STYLE_VIRTUAL);
	assert_string_equal(a.ca_file, "/c");
	setenv("AWS_DEFAULT_REGION", "d-1", 1);
	setenv("AWS_ENDPOINT_URL", "https://all", 1);
	setenv("AWS_MAX_ATTEMPTS", "4", 1);
	setenv("AWS_USE_FIPS_ENDPOINT", "false", 1);
	load(NULL, &b);
	assert_string_equal(b.region, "d-1");
	assert_string_equal(b.endpoints[AWS_SERVICE_KMS], "https://all");
	assert_int_equal(b.max_attempts, 4);
	assert_false(b.fips);
	setenv("AWS_REGION", "e-1", 1);
	setenv("AWS_ENDPOINT_URL_S3", "https://s3", 1);
	load(&(struct aws_options){.kms_endpoint = "https://option", .path_style = true}, &c);
	assert_string_equal(c.region, "e-1");
	assert_string_equal(c.endpoints[AWS_SERVICE_S3], "https://s3");
	assert_string_equal(c.endpoints[AWS_SERVICE_KMS], "https://option");
	assert_int_equal(c.style, ENDPOINT_STYLE_PATH);
	setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true", 1);
	load(&(struct aws_options){.region = "o-1", .kms_endpoint = "https://option"}, &d);
	assert_string_equal(d.region, "o-1");
	assert_null(d.endpoints[AWS_SERVICE_S3]);
	assert_string_equal(d.endpoints[AWS_SERVICE_KMS], "https://option");
}

static void settings_that_are_refused(void **state)
{
	static const char *const bad[][2] = {
		{"AWS_REGION", "not a region"},
		{"AWS_DEFAULT_REGION", "evil.com#"},
		{"AWS_ENDPOINT_URL", "localhost"},
		{"AWS_ENDPOINT_URL_KMS", "http://user@h"},
		{"AWS_MAX_ATTEMPTS", "0"},
		{"AWS_MAX_ATTEMPTS", "-1"},
		{"AWS_MAX_ATTEMPTS", "1000"},
		{"AWS_MAX_ATTEMPTS", "3x"},
		{"AWS_USE_FIPS_ENDPOINT", "yes"},
		{"AWS_USE_DUALSTACK_ENDPOINT", "2"},
		{"AWS_EC2_METADATA_DISABLED", "no"},
		{"AWS_EC2_METADATA_SERVICE_ENDPOINT", "169.254.169.254"},
		{"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv5"},
		{"AWS_METADATA_SERVICE_TIMEOUT", "0"},
		{"AWS_METADATA_SERVICE_NUM_ATTEMPTS", "99"},
		{"AWS_PROFILE", "absent"},
		/* Not without TLS: transport.h. */
		{"AWS_ENDPOINT_URL", "http://10.0.0.1"},
		{"AWS_ENDPOINT_URL_S3", "http://s3.example.com"},
		{"AWS_ENDPOINT_URL_KMS", "http://kms.example.com:8080"},
		{"AWS_ENDPOINT_URL_STS", "http://127.0.0.1.example.com"},
		{"AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://169.254.170.2"},
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		_cleanup_config_ struct aws_config c = {0};
		struct error err = {0};

		clean_environment(NULL);
		setenv(bad[i][0], bad[i][1], 1);
		if (aws_config_load(NULL, &c, &err) != -EINVAL)
			print_message("%s=%s\n", bad[i][0], bad[i][1]);
		assert_int_equal(err.code, -EINVAL);
		assert_true(err.message[0]);
	}
}

static int make_dir(void **state)
{
	if (!mkdtemp(dir))
		return -1;
	(void)snprintf(config_path, sizeof(config_path), "%s/config", dir);
	(void)snprintf(credentials_path, sizeof(credentials_path), "%s/credentials", dir);
	return 0;
}

static int remove_dir(void **state)
{
	unlink(config_path);
	unlink(credentials_path);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(environment_comes_first, clean_environment),
		cmocka_unit_test_setup(malformed_keys_are_refused, clean_environment),
		cmocka_unit_test_setup(profiles_that_give_no_keys, clean_environment),
		cmocka_unit_test(json_answers),
		cmocka_unit_test_setup(settings_by_rank, clean_environment),
		cmocka_unit_test_setup(settings_that_are_refused, clean_environment),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
