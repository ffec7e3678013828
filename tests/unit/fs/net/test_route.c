/* fs/net/route: what net= means, and which route a server takes. */
#include "fs/net/route.h"

#include "tests/unit/test.h"

#include <errno.h>
#include <linux/vm_sockets.h>
#include <string.h>
#include <sys/un.h>

static void reads_vsock(void **state)
{
	struct sockaddr_vm vm;
	struct route r;

	assert_int_equal(route_parse("vsock:3:8001", &r, NULL), 0);
	memcpy(&vm, &r.to, sizeof(vm));
	assert_int_equal(vm.svm_family, AF_VSOCK);
	assert_int_equal(vm.svm_cid, 3);
	assert_int_equal(vm.svm_port, 8001);
	assert_int_equal(r.to_size, sizeof(vm));
	assert_string_equal(r.host, "");
	assert_string_equal(r.place, "vsock:3:8001");
	assert_int_equal(
		route_parse("kms.eu-west-1.amazonaws.com:8443@vsock:4294967294:0", &r, NULL), 0);
	assert_string_equal(r.host, "kms.eu-west-1.amazonaws.com");
	assert_string_equal(r.port, "8443");
}

static void reads_unix(void **state)
{
	struct sockaddr_un un;
	struct route r;

	assert_int_equal(route_parse("h@unix:/run/a@b", &r, NULL), 0);
	memcpy(&un, &r.to, sizeof(un));
	assert_int_equal(un.sun_family, AF_UNIX);
	assert_string_equal(un.sun_path, "/run/a@b");
	assert_string_equal(r.host, "h");
	assert_string_equal(r.port, "443");
	assert_int_equal(route_parse("unix:/run/a@b", &r, NULL), 0);
	assert_string_equal(r.host, "");
}

static void refuses(void **state)
{
	static const char *const bad[] = {
		"",
		"vsock",
		"vsock:",
		"vsock:3",
		"vsock:3:",
		"vsock::1",
		"vsock:-1:1",
		"vsock:3:1x",
		"vsock:4294967295:1",
		"vsock:3:4294967295",
		"unix:",
		"unix:a",
		"@vsock:3:1",
		":443@vsock:3:1",
		"h:@vsock:3:1",
		"h:65536@vsock:3:1",
		"h:4430000000000@vsock:3:1",
		"h i@vsock:3:1",
		"[::1]@vsock:3:1",
		"h@@vsock:3:1",
		"h@tcp:1:1",
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct error err = {0};
		struct route r;

		if (route_parse(bad[i], &r, &err) != -EINVAL)
			fail_msg("%s", bad[i]);
		assert_non_null(strstr(err.message, "option net="));
	}
}

static void chooses(void **state)
{
	static const char *const texts[] = {"vsock:3:1", "s3.amazonaws.com@vsock:3:2",
					    "b.s3.amazonaws.com@vsock:3:3", "h:8443@vsock:3:4",
					    "vsock:3:5"};
	static const struct {
		const char *host, *port;
		size_t want;
	} cases[] = {
		{"s3.amazonaws.com", "443", 1},
		{"a.s3.amazonaws.com", "443", 1},
		{"B.S3.amazonaws.com", "443", 2},
		{"x.b.s3.amazonaws.com", "443", 2},
		{"xs3.amazonaws.com", "443", 0},
		{".s3.amazonaws.com", "443", 0},
		{"s3.amazonaws.com", "80", 0},
		{"h", "8443", 3},
		{"h", "443", 0},
		{"s3.amazonaws.com.evil", "443", 0},
	};
	struct route routes[ARRAY_LEN(texts)];

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		assert_int_equal(route_parse(texts[i], &routes[i], NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_ptr_equal(
			route_find(routes, ARRAY_LEN(routes), cases[i].host, cases[i].port),
			&routes[cases[i].want]);
	assert_null(route_find(routes + 1, 3, "elsewhere", "443"));
	assert_null(route_find(routes, 0, "h", "443"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_vsock),
		cmocka_unit_test(reads_unix),
		cmocka_unit_test(refuses),
		cmocka_unit_test(chooses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
