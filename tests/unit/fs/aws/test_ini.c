/* fs/aws/ini and profile: AWS's profile files, good, odd and broken. */
#include "fs/aws/ini.h"

#include "crypto/base/cleanup.h"
#include "fs/aws/profile.h"
#include "fs/aws/words.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

static int parse_bytes(const char *text, size_t size, struct ini **ret, struct error *err)
{
	char *copy = malloc(size + 1);

	assert_non_null(copy);
	memcpy(copy, text, size);
	copy[size] = '\0';
	return ini_parse(copy, size, "f", ret, err);
}

static struct ini *parse(const char *text)
{
	struct ini *ini = NULL;
	struct error err = {0};

	if (parse_bytes(text, strlen(text), &ini, &err) < 0)
		print_message("%s\n", err.message);
	assert_non_null(ini);
	return ini;
}

static void finds_values(void **state)
{
	_cleanup_(ini_freep) struct ini *ini = parse("# comment\n"
						     "[default]\r\n"
						     "region = eu-west-1\r\n"
						     "last: with a colon = and more\n"
						     "\n"
						     "[profile prod]  ; note\n"
						     "Region=us-east-1   # no comment\n"
						     "key = a#b;c\n"
						     "spaced   =  two words\t\n"
						     "  continued = here\n"
						     "# a comment between\n"
						     "\n"
						     "    and : here\n"
						     "empty =\n"
						     "; end\n"
						     "tail = without line end");
	size_t at = 0;

	assert_string_equal(ini_get(ini, "default", NULL, "region"), "eu-west-1");
	assert_string_equal(ini_get(ini, "default", NULL, "last"), "with a colon = and more");
	assert_string_equal(ini_get(ini, "profile prod", NULL, "REGION"),
			    "us-east-1   # no comment");
	assert_string_equal(ini_get(ini, "profile prod", NULL, "key"), "a#b;c");
	assert_string_equal(ini_get(ini, "profile prod", NULL, "spaced"),
			    "two words\ncontinued = here\nand : here");
	assert_string_equal(ini_get(ini, "profile prod", NULL, "tail"), "without line end");
	assert_null(ini_get(ini, "profile prod", NULL, "continued"));
	assert_null(ini_get(ini, "profile prod", NULL, "empty"));
	assert_null(ini_get(ini, "profile prod", NULL, "absent"));
	assert_null(ini_get(ini, "prod", NULL, "region"));
	assert_null(ini_get(ini, NULL, NULL, "region"));
	assert_null(ini_get(NULL, "default", NULL, "region"));
	assert_true(ini_has_section(ini, "profile prod"));
	assert_false(ini_has_section(ini, "profile"));
	assert_string_equal(ini_next_section(ini, &at), "default");
	assert_string_equal(ini_next_section(ini, &at), "profile prod");
	assert_null(ini_next_section(ini, &at));
}

static void finds_nested_values(void **state)
{
	_cleanup_(ini_freep) struct ini *ini = parse("[default]\n"
						     "s3 =\n"
						     "  addressing_style = path\n"
						     "\n"
						     "\tmax_bandwidth = 1\n"
						     "      deeper = 2\n"
						     "region = eu-west-1\n"
						     "[services dev]\n"
						     "s3 =\n"
						     "  endpoint_url = http://a\n"
						     "kms =\n"
						     "  endpoint_url = http://b\n");

	assert_string_equal(ini_get(ini, "default", "s3", "addressing_style"), "path");
	assert_string_equal(ini_get(ini, "default", "S3", "max_bandwidth"), "1");
	assert_string_equal(ini_get(ini, "default", "s3", "deeper"), "2");
	assert_null(ini_get(ini, "default", NULL, "addressing_style"));
	assert_null(ini_get(ini, "default", "s3", "region"));
	assert_string_equal(ini_get(ini, "default", NULL, "region"), "eu-west-1");
	assert_string_equal(ini_get(ini, "services dev", "s3", "endpoint_url"), "http://a");
	assert_string_equal(ini_get(ini, "services dev", "kms", "endpoint_url"), "http://b");
}

/* As an indented here-document leaves it. A line that was dropped could be the role. */
static void indented_lines_count(void **state)
{
	_cleanup_(ini_freep) struct ini *a = parse("[default]\n  region = r\n  role_arn = x\n"
						   "[b]\n region = s\n");
	_cleanup_(ini_freep) struct ini *b = parse("    [default]\n    region = r\n"
						   "    s3 =\n      a = b\n    role_arn = x\n"
						   "    [b]\n    region = s\n");
	const struct ini *both[] = {a, b};

	for (size_t i = 0; i < ARRAY_LEN(both); i++) {
		assert_string_equal(ini_get(both[i], "default", NULL, "region"), "r");
		assert_string_equal(ini_get(both[i], "default", NULL, "role_arn"), "x");
		assert_string_equal(ini_get(both[i], "b", NULL, "region"), "s");
	}
	assert_string_equal(ini_get(b, "default", "s3", "a"), "b");
}

static void a_common_section(void **state)
{
	_cleanup_(ini_freep) struct ini *ini = parse("[DEFAULT]\nregion = r\ns3 =\n  a = b\nx = y\n"
						     "[a]\nkey = k\n"
						     "[b]\nregion =\ns3 =\n  c = d\n"
						     "[DEFAULT]\nlate = l\n");

	assert_string_equal(ini_get(ini, "a", NULL, "region"), "r");
	assert_string_equal(ini_get(ini, "a", "s3", "a"), "b");
	assert_string_equal(ini_get(ini, "a", NULL, "late"), "l");
	assert_null(ini_get(ini, "b", NULL, "region"));
	assert_null(ini_get(ini, "b", "s3", "a"));
	assert_string_equal(ini_get(ini, "b", "s3", "c"), "d");
	assert_string_equal(ini_get(ini, "b", NULL, "x"), "y");
	assert_null(ini_get(ini, "c", NULL, "region"));
	assert_false(ini_has_section(ini, "DEFAULT"));
	assert_null(ini_get(ini, "DEFAULT", NULL, "region"));
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
		{"[a]\rb = c\r\nd\r", "f:3:"},
		{"[a] b\n", "f:1:"},
		{"[a]\nnot an assignment\n", "f:2:"},
		{"[a]\n\n = value\n", "f:3:"},
		{"[a]\ns3 =\n  no equals\n", "f:3:"},
		{"[a]\n  indented first\n", "f:2:"},
		{"[a]\nb = c\n[a]\n", "f:3:"},
		{"[a]\nb = c\n# x\nB : d\n", "f:4:"},
		{"[a]\ns3 =\n  b = c\n  [d]\n", "f:4:"},
		{"\xef\xbb\xbf[a]\nb = c\n", "f:1:"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct error err = {0};
		struct ini *ini = NULL;

		assert_int_equal(parse_bytes(cases[i].text, strlen(cases[i].text), &ini, &err),
				 -EINVAL);
		assert_null(ini);
		if (!strstr(err.message, cases[i].where))
			print_message("%s: %s\n", cases[i].text, err.message);
		assert_non_null(strstr(err.message, cases[i].where));
	}
}

static void hostile_files_are_refused(void **state)
{
	_cleanup_free_ char *big = calloc(1, INI_SIZE_MAX + 1);
	_cleanup_free_ char *many = malloc(8 * (INI_ENTRIES_MAX + 2) + 8);
	struct ini *ini = NULL;
	char *p = many;

	memset(big, '\n', INI_SIZE_MAX + 1);
	assert_int_equal(parse_bytes(big, INI_SIZE_MAX + 1, &ini, NULL), -EINVAL);
	assert_int_equal(parse_bytes("[a]\nb\0=c\n", 9, &ini, NULL), -EINVAL);
	memcpy(p, "[a]\n", 4);
	p += 4;
	for (int i = 0; i <= INI_ENTRIES_MAX; i++)
		p += snprintf(p, 12, "%x=\n", (unsigned)i);
	assert_int_equal(parse_bytes(many, (size_t)(p - many), &ini, NULL), -EINVAL);
	assert_null(ini);
}

static void messages_hold_no_value(void **state)
{
	static const char text[] = "[a]\naws_secret_access_key SECRETSECRET\n";
	struct error err = {0};
	struct ini *ini = NULL;

	assert_int_equal(parse_bytes(text, strlen(text), &ini, &err), -EINVAL);
	assert_null(strstr(err.message, "SECRET"));
}

static void words(void **state)
{
	static const struct {
		const char *text, *words[4]; /* words[0] NULL: none */
	} cases[] = {
		{"", {NULL}},
		{"  \n ", {NULL}},
		{"a", {"a"}},
		{" a\tb  c ", {"a", "b", "c"}},
		{"'a b' \"c d\"e", {"a b", "c de"}},
		{"a\\ b '\\' \"\\\"\\x\"", {"a b", "\\", "\"\\x"}},
		{"'' \"\"", {"", ""}},
		{"$HOME;`x`|*", {"$HOME;`x`|*"}},
	};
	static const char *const bad[] = {"'a", "\"a", "a\\", "\"a\\\""};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_free_ char **found = NULL;
		size_t count = 99, n;

		assert_int_equal(words_split(cases[i].text, &found, &count), 0);
		for (n = 0; n < 4 && cases[i].words[n]; n++)
			assert_string_equal(found[n], cases[i].words[n]);
		assert_int_equal(count, n);
		assert_null(found[n]);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char **found = NULL;
		size_t count;

		assert_int_equal(words_split(bad[i], &found, &count), -EINVAL);
		assert_null(found);
	}
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
	/* Quotes belong to the file; of two that mean the same the last one counts. */
	write_file(config, "[profile \"my dev\"]\nregion = q\n[default]\nregion = one\n"
			   "[profile default]\nregion = two\n[profile a b]\nregion = x\n"
			   "[profile gone]\nservices = absent\n");
	assert_int_equal(profile_load("my dev", &none, &err), 0);
	assert_string_equal(profile_get(none, "region"), "q");
	assert_true(profile_has_services(none));
	profile_free(steal_ptr(none));
	assert_int_equal(profile_load("default", &none, &err), 0);
	assert_string_equal(profile_get(none, "region"), "two");
	profile_free(steal_ptr(none));
	assert_int_equal(profile_load("a b", &none, &err), 0);
	assert_false(profile_exists(none));
	profile_free(steal_ptr(none));
	assert_int_equal(profile_load("gone", &none, &err), 0);
	assert_false(profile_has_services(none));
	profile_free(steal_ptr(none));
	write_file(config, "[default\n");
	assert_int_equal(profile_load("default", &none, &err), -EINVAL);
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
		cmocka_unit_test(indented_lines_count),
		cmocka_unit_test(words),
		cmocka_unit_test(a_common_section),
		cmocka_unit_test(empty_files_are_fine),
		cmocka_unit_test(broken_files_name_the_line),
		cmocka_unit_test(hostile_files_are_refused),
		cmocka_unit_test(messages_hold_no_value),
		cmocka_unit_test(profiles_join_both_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
