/* fs/net/ini and profile: AWS's profile files, good, odd and broken. */
#include "fs/net/ini.h"

#include "crypto/base/cleanup.h"
#include "fs/net/profile.h"
#include "tests/unit/base/test.h"

#include <errno.h>
#include <string.h>

static struct ini *parse(const char *text)
{
	struct ini *ini = NULL;
	struct error err = {0};

	if (ini_parse(text, strlen(text), "f", &ini, &err) < 0)
		print_message("%s\n", err.message);
	assert_non_null(ini);
	return ini;
}

static void finds_values(void **state)
{
	_cleanup_(ini_freep) struct ini *ini = parse("# comment\n"
						     "[default]\r\n"
						     "region = eu-west-1\r\n"
						     "\n"
						     "[ profile prod ]  ; note\n"
						     "Region=us-east-1   # note\n"
						     "key = a#b;c\n"
						     "spaced   =  two words\t\n"
						     "  a continuation without equals\n"
						     "empty =\n"
						     "; end\n"
						     "[default]\n"
						     "region = eu-central-1\n"
						     "last = without line end");

	assert_string_equal(ini_get(ini, "default", NULL, "region"), "eu-central-1");
	assert_string_equal(ini_get(ini, "default", NULL, "last"), "without line end");
	assert_string_equal(ini_get(ini, "profile prod", NULL, "REGION"), "us-east-1");
	assert_string_equal(ini_get(ini, "profile prod", NULL, "key"), "a#b;c");
	assert_string_equal(ini_get(ini, "profile prod", NULL, "spaced"), "two words");
	assert_null(ini_get(ini, "profile prod", NULL, "empty"));
	assert_null(ini_get(ini, "profile prod", NULL, "absent"));
	assert_null(ini_get(ini, "prod", NULL, "region"));
	assert_null(ini_get(ini, NULL, NULL, "region"));
	assert_null(ini_get(NULL, "default", NULL, "region"));
	assert_true(ini_has_section(ini, "profile prod"));
	assert_false(ini_has_section(ini, "profile"));
}

static void finds_nested_values(void **state)
{
	_cleanup_(ini_freep) struct ini *ini = parse("[default]\n"
						     "s3 =\n"
						     "  addressing_style = path\n"
						     "\tmax_bandwidth = 1\n"
						     "region = eu-west-1\n"
						     "[services dev]\n"
						     "s3 = # the store\n"
						     "  endpoint_url = http://a\n"
						     "kms =\n"
						     "  endpoint_url = http://b\n");

	assert_string_equal(ini_get(ini, "default", "s3", "addressing_style"), "path");
	assert_string_equal(ini_get(ini, "default", "S3", "max_bandwidth"), "1");
	assert_null(ini_get(ini, "default", NULL, "addressing_style"));
	assert_null(ini_get(ini, "default", "s3", "region"));
	assert_string_equal(ini_get(ini, "default", NULL, "region"), "eu-west-1");
	assert_string_equal(ini_get(ini, "services dev", "s3", "endpoint_url"), "http://a");
	assert_string_equal(ini_get(ini, "services dev", "kms", "endpoint_url"), "http://b");
}

static void empty_files_are_fine(void **state)
{
	_cleanup_(ini_freep) struct ini *a = parse(""), *b = parse("\n\n"), *c = parse("[x]");

	assert_false(ini_has_section(a, "default"));
	assert_false(ini_has_section(b, "default"));
	assert_true(ini_has_section(c, "x"));
}

static void broken_files_name_the_line(void **state)
{
	static const struct {
		const char *text, *where;
	} cases[] = {
		{"key = before any section\n", "f:1:"},
		{"[default\n", "f:1:"},
		{"[]\n", "f:1:"},
		{"[ ]\n", "f:1:"},
		{"[a] b\n", "f:1:"},
		{"[a]\nnot an assignment\n", "f:2:"},
		{"[a]\n\n = value\n", "f:3:"},
		{"[a]\ns3 =\n  no equals\n", "f:3:"},
		{"[a]\n  indented first\n", "f:2:"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct error err = {0};
		struct ini *ini = NULL;

		assert_int_equal(ini_parse(cases[i].text, strlen(cases[i].text), "f", &ini, &err),
				 -EPROTO);
		assert_null(ini);
		if (!strstr(err.message, cases[i].where))
			print_message("%s: %s\n", cases[i].text, err.message);
		assert_non_null(strstr(err.message, cases[i].where));
	}
}

static void hostile_files_are_refused(void **state)
{
	_cleanup_free_ char *big = calloc(1, INI_SIZE_MAX + 1);
	_cleanup_free_ char *many = malloc(4 * (INI_ENTRIES_MAX + 2) + 8);
	struct ini *ini = NULL;
	char *p = many;

	memset(big, '\n', INI_SIZE_MAX + 1);
	assert_int_equal(ini_parse(big, INI_SIZE_MAX + 1, "f", &ini, NULL), -E2BIG);
	assert_int_equal(ini_parse("[a]\nb\0=c\n", 9, "f", &ini, NULL), -EPROTO);
	memcpy(p, "[a]\n", 4);
	p += 4;
	for (int i = 0; i <= INI_ENTRIES_MAX; i++, p += 4)
		memcpy(p, "a=b\n", 4);
	assert_int_equal(ini_parse(many, (size_t)(p - many), "f", &ini, NULL), -E2BIG);
	assert_null(ini);
}

static void messages_hold_no_value(void **state)
{
	static const char text[] = "[a]\naws_secret_access_key SECRETSECRET\n";
	struct error err = {0};
	struct ini *ini = NULL;

	assert_int_equal(ini_parse(text, strlen(text), "f", &ini, &err), -EPROTO);
	assert_null(strstr(err.message, "SECRET"));
}

static void write_file(const char *path, const char *text)
{
	_cleanup_fclose_ FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
}

static void profiles_join_both_files(void **state)
{
	char dir[] = "/tmp/sealedfs-ini.XXXXXX", config[64], credentials[64];
	_cleanup_(profile_freep) struct profile *p = NULL, *d = NULL, *none = NULL;
	struct error err = {0};

	assert_non_null(mkdtemp(dir));
	(void)snprintf(config, sizeof(config), "%s/config", dir);
	(void)snprintf(credentials, sizeof(credentials), "%s/credentials", dir);
	write_file(config, "[default]\nregion = a\n[profile p]\nregion = b\naws_access_key_id = C\n"
			   "services = dev\n[services dev]\nkms =\n  endpoint_url = http://k\n"
			   "[p]\nregion = wrong\n");
	write_file(credentials, "[p]\naws_access_key_id = D\n[profile p]\nregion = wrong\n");
	setenv("AWS_CONFIG_FILE", config, 1);
	setenv("AWS_SHARED_CREDENTIALS_FILE", credentials, 1);
	assert_int_equal(profile_load("p", &p, &err), 0);
	assert_true(profile_exists(p));
	assert_string_equal(profile_get(p, "region"), "b");
	assert_string_equal(profile_get(p, "aws_access_key_id"), "D");
	assert_string_equal(profile_get_service(p, "kms", "endpoint_url"), "http://k");
	assert_null(profile_get_service(p, "s3", "endpoint_url"));
	assert_int_equal(profile_load("default", &d, &err), 0);
	assert_string_equal(profile_get(d, "region"), "a");
	assert_null(profile_get_service(d, "kms", "endpoint_url"));
	assert_int_equal(profile_load("q", &none, &err), 0);
	assert_false(profile_exists(none));
	profile_free(none);
	none = NULL;
	write_file(config, "[default\n");
	assert_int_equal(profile_load("default", &none, &err), -EPROTO);
	unlink(config);
	unlink(credentials);
	assert_int_equal(profile_load("p", &none, NULL), 0);
	assert_false(profile_exists(none));
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_values),
		cmocka_unit_test(finds_nested_values),
		cmocka_unit_test(empty_files_are_fine),
		cmocka_unit_test(broken_files_name_the_line),
		cmocka_unit_test(hostile_files_are_refused),
		cmocka_unit_test(messages_hold_no_value),
		cmocka_unit_test(profiles_join_both_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
