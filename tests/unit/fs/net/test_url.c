/* Tests of fs/net/url.c: configured URLs and the Host header. */
#include "fs/net/url.h"

#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

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
		int r = url_check(cases[i].url, "TEST", &url, &err);

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
		_cleanup_free_ char *host = url_host(cases[i][0]);

		assert_string_equal(host, cases[i][1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(urls_are_checked),
		cmocka_unit_test(hosts_drop_the_default_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
