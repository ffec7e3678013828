/* fs/net/transport: which URLs may be asked without TLS, and by whom they are permitted. */
#include "fs/net/transport.h"

#include "tests/unit/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

static const char *const named[] = {"minio.lan:9000", "10.0.0.5", "[fd00::5]:80", "proxyless"};
static const struct transport_hosts allowed = {named, ARRAY_LEN(named)};

static void check(enum transport want, const struct transport_peer *peer, const char *const *urls,
		  size_t count)
{
	for (size_t i = 0; i < count; i++) {
		enum transport got = transport_judge(urls[i], peer, &allowed);
		struct error err = {0};
		int r = transport_check(urls[i], "VARIABLE", peer, &allowed, &err);

		if (got != want)
			fail_msg("%s: %d, not %d", urls[i], (int)got, (int)want);
		assert_int_equal(r, want == TRANSPORT_REFUSED ? -EINVAL : 0);
		if (r < 0)
			assert_non_null(strstr(err.message, "VARIABLE"));
	}
}

static const char *const loopback[] = {
	"http://127.0.0.1",	  "http://127.0.0.1:8080/a", "http://127.9.9.9/",
	"http://localhost:1/",	  "http://LOCALHOST/",	     "http://[::1]:80/",
	"http://b.localhost:9/k", "HTTP://127.0.0.1/",
};
static const char *const tls[] = {"https://kms.example.com", "https://10.9.9.9:8443/x"};
static const char *const permitted[] = {
	"http://minio.lan:9000", "http://weights.minio.lan:9000/k",
	"http://10.0.0.5:80/",	 "http://10.0.0.5:8080",
	"http://[fd00::5]/x",	 "http://proxyless:1234",
};
static const char *const foreign[] = {
	"http://kms.example.com",
	"http://example.com/",
	"http://127.0.0.1.example.com/",
	"http://127.0.0.1@example.com/",
	"http://user:127.0.0.1@example.com/",
	"http://localhost.example.com/",
	"http://localhost./",
	"http://xlocalhost/",
	"http://.localhost.com/",
	"http://127.1/",
	"http://2130706433/",
	"http://0177.0.0.1/",
	"http://0.0.0.0/",
	"http://[::]/",
	"http://[::ffff:10.0.0.1]/",
	"http://[::1].example.com/",
	"http://[fd00::1]/",
	"http://10.0.0.6/",
	"http://110.0.0.5/",
	"http://x.10.0.0.5/",
	"http://minio.lan/",
	"http://minio.lan:9001/",
	"http://evilminio.lan:9000/",
	"http://minio.lan.evil.com:9000/",
	"http://[fd00::5]:81/",
	"http://",
	"http:///",
	"ftp://127.0.0.1/",
	"file:///etc/passwd",
	"127.0.0.1",
	"",
};

static void services(void **state)
{
	check(TRANSPORT_LOOPBACK, NULL, loopback, ARRAY_LEN(loopback));
	check(TRANSPORT_TLS, NULL, tls, ARRAY_LEN(tls));
	check(TRANSPORT_PLAIN, NULL, permitted, ARRAY_LEN(permitted));
	check(TRANSPORT_REFUSED, NULL, foreign, ARRAY_LEN(foreign));
	for (size_t i = 0; i < ARRAY_LEN(permitted); i++)
		assert_int_equal(transport_judge(permitted[i], NULL, NULL), TRANSPORT_REFUSED);
}

/* Its own addresses, and what the user permits unless it has only its own. */
static void peers_with_addresses(void **state)
{
	static const char *const hosts[] = {"192.0.2.7", "[fd00:9::1]", NULL};
	static const struct transport_peer open = {.hosts = hosts},
					   closed = {.hosts = hosts, .only = "some"};
	static const char *const own[] = {"http://192.0.2.7/x", "http://[FD00:9::1]:80"};
	static const char *const nobody[] = {"http://192.0.2.70/", "http://192.0.2.7.example.com/",
					     "http://192.0.2.7@example.com/",
					     "http://[fd00:9::10]/"};

	check(TRANSPORT_REFUSED, NULL, own, ARRAY_LEN(own));
	for (const struct transport_peer *peer = &open; peer;
	     peer = peer == &open ? &closed : NULL) {
		check(TRANSPORT_PLAIN, peer, own, ARRAY_LEN(own));
		check(TRANSPORT_REFUSED, peer, nobody, ARRAY_LEN(nobody));
		check(TRANSPORT_LOOPBACK, peer, loopback, ARRAY_LEN(loopback));
		check(TRANSPORT_TLS, peer, tls, ARRAY_LEN(tls));
	}
	check(TRANSPORT_PLAIN, &open, permitted, ARRAY_LEN(permitted));
	check(TRANSPORT_REFUSED, &closed, permitted, ARRAY_LEN(permitted));
}

/* Everybody who can be named by a URL, and nothing else. */
static void evidence(void **state)
{
	static const char *const everywhere[] = {"http://kms.example.com/",
						 "http://10.0.0.6:8470/x", "http://[fd00::1]/",
						 "http://169.254.169.254/"};
	static const char *const nowhere[] = {"http://",   "http:///",	   "ftp://127.0.0.1/",
					      "127.0.0.1", "file:///etc/", "http://user@host/"};

	check(TRANSPORT_PLAIN, &transport_evidence, everywhere, ARRAY_LEN(everywhere));
	check(TRANSPORT_LOOPBACK, &transport_evidence, loopback, ARRAY_LEN(loopback));
	check(TRANSPORT_TLS, &transport_evidence, tls, ARRAY_LEN(tls));
	check(TRANSPORT_REFUSED, &transport_evidence, nowhere, ARRAY_LEN(nowhere));
}

static void values_of_the_option(void **state)
{
	static const char *const good[] = {"h", "h:1", "10.0.0.1:65535", "[::2]", "[::2]:80"};
	static const char *const bad[] = {"",	 "h:",	 "h:0",	   "h:x",   "http://h", "u@h",
					  "h/p", "[::2", "::2:80", "h:1:2", " h",	"h "};

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_int_equal(transport_check_host(good[i], NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (transport_check_host(bad[i], NULL) != -EINVAL)
			fail_msg("accepted: %s", bad[i]);
}

static bool is_loopback(int family, const char *text)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	bool is_v4 = family == AF_INET;

	assert_int_equal(
		inet_pton(family, text, is_v4 ? (void *)&v4.sin_addr : (void *)&v6.sin6_addr), 1);
	return transport_is_loopback(is_v4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6);
}

static void addresses(void **state)
{
	assert_true(is_loopback(AF_INET, "127.0.0.1"));
	assert_true(is_loopback(AF_INET, "127.255.255.255"));
	assert_false(is_loopback(AF_INET, "128.0.0.1"));
	assert_false(is_loopback(AF_INET, "0.0.0.0"));
	assert_true(is_loopback(AF_INET6, "::1"));
	assert_false(is_loopback(AF_INET6, "::"));
	assert_false(is_loopback(AF_INET6, "::ffff:10.0.0.1"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(services),  cmocka_unit_test(peers_with_addresses),
		cmocka_unit_test(evidence),  cmocka_unit_test(values_of_the_option),
		cmocka_unit_test(addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
