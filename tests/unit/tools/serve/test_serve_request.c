/* tools/serve_request: targets and bodies of requests to the evidence endpoint. */
#include "crypto/base/json.h"
#include "tests/unit/test.h"
#include "tools/serve/serve_request.h"

#include <string.h>

#define NONCE16 "00112233445566778899aabbccddeeff"
#define NONCE64 NONCE16 NONCE16 NONCE16 NONCE16

static unsigned parse(const char *method, const char *uri, struct serve_request *ret)
{
	const char *why = NULL, *allow = NULL;
	unsigned status = serve_request_parse(method, uri, ret, &why, &allow);

	assert_int_equal(status == 405, allow != NULL);
	assert_true(status == 0 || why);
	return status;
}

static void requests(void **state)
{
	struct serve_request r;

	assert_int_equal(parse("GET", "/", &r), 0);
	assert_int_equal(r.what, SERVE_TEXT);
	assert_int_equal(parse("GET", "/v1/mounts", &r), 0);
	assert_int_equal(r.what, SERVE_MOUNTS);
	assert_int_equal(parse("GET", "/v1/nonce", &r), 0);
	assert_int_equal(r.what, SERVE_NONCE);
	assert_int_equal(parse("POST", "/v1/evidence", &r), 0);
	assert_int_equal(r.what, SERVE_PRESENT);
	assert_int_equal(parse("GET", "/v1/evidence?nonce=" NONCE16, &r), 0);
	assert_int_equal(r.what, SERVE_EVIDENCE);
	assert_int_equal(r.nonce.size, 16);
	assert_int_equal(r.nonce.bytes[15], 0xff);
	assert_int_equal(parse("GET", "/v1/evidence?nonce=" NONCE64, &r), 0);
	assert_int_equal(r.nonce.size, 64);
	assert_int_equal(parse("GET", "/v1/evidence?nonce=00112233445566778899AABBCCDDEEFF", &r),
			 0);
}

static void refusals(void **state)
{
	static const struct {
		const char *method, *uri;
		unsigned status;
	} bad[] = {
		{"GET", "/v1/evidence", 400},
		{"GET", "/v1/evidence?", 400},
		{"GET", "/v1/evidence?nonce", 400},
		{"GET", "/v1/evidence?nonce=", 400},
		{"GET", "/v1/evidence?nonce=00112233445566778899aabbccddee", 400},
		{"GET", "/v1/evidence?nonce=" NONCE16 "0", 400},
		{"GET", "/v1/evidence?nonce=" NONCE64 "00", 400},
		{"GET", "/v1/evidence?nonce=" NONCE16 "&", 400},
		{"GET", "/v1/evidence?nonce=" NONCE16 "&nonce=" NONCE16, 400},
		{"GET", "/v1/evidence?a=b&nonce=" NONCE16, 400},
		{"GET", "/v1/evidence?Nonce=" NONCE16, 400},
		{"GET", "/v1/evidence?nonce=%300112233445566778899aabbccddeeff", 400},
		{"GET", "/v1/evidence?nonce=0x112233445566778899aabbccddeeff", 400},
		{"GET", "/v1/evidence?nonce= 0112233445566778899aabbccddeeff", 400},
		{"POST", "/v1/evidence?nonce=" NONCE16, 400},
		{"GET", "/?x", 400},
		{"GET", "/v1/mounts?", 400},
		{"GET", "/v1/nonce?nonce=" NONCE16, 400},
		{"GET", "", 404},
		{"GET", "*", 404},
		{"GET", "//", 404},
		{"GET", "/v1", 404},
		{"GET", "/v1/evidence/", 404},
		{"GET", "/v1/evidence%3fnonce=" NONCE16, 404},
		{"GET", "/v1/../v1/nonce", 404},
		{"GET", "/V1/nonce", 404},
		{"GET", "http://host/v1/nonce", 404},
		{"HEAD", "/", 405},
		{"get", "/", 405},
		{"POST", "/", 405},
		{"PUT", "/v1/evidence", 405},
		{"POST", "/v1/nonce", 405},
		{"OPTIONS", "/v1/evidence", 405},
	};
	char long_uri[SERVE_URI_MAX + 32];
	struct serve_request r;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (parse(bad[i].method, bad[i].uri, &r) != bad[i].status)
			fail_msg("%s %s: %u", bad[i].method, bad[i].uri,
				 parse(bad[i].method, bad[i].uri, &r));
	memset(long_uri, 'a', sizeof(long_uri) - 1);
	long_uri[sizeof(long_uri) - 1] = '\0';
	memcpy(long_uri, "/v1/evidence?nonce=", strlen("/v1/evidence?nonce="));
	assert_int_equal(parse("GET", long_uri, &r), 414);
}

static void bodies(void **state)
{
	static const char good[] =
		"{\"nonce\": \"" NONCE16 "\", \"evidence\": {\"pcr\": 15}, \"more\": []}";
	static const char *const bad[] = {
		"",
		"{}",
		"[]",
		"{\"nonce\": \"" NONCE16 "\"}",
		"{\"evidence\": {}}",
		"{\"nonce\": \"\", \"evidence\": {}}",
		"{\"nonce\": 7, \"evidence\": {}}",
		"{\"nonce\": \"" NONCE16 "\", \"evidence\": []}",
		"{\"nonce\": \"" NONCE16 "\", \"evidence\": null}",
		"{\"nonce\": \"" NONCE16 "\\u0000\", \"evidence\": {}}",
		"{\"nonce\": \"" NONCE16 "\", \"nonce\": \"" NONCE16 "\", \"evidence\": {}}",
		"{\"nonce\": \"" NONCE16 "\", \"evidence\": {}} x",
	};
	struct serve_nonce nonce;
	json_t *evidence = NULL;

	assert_int_equal(serve_body_parse(good, strlen(good), &nonce, &evidence, NULL), 0);
	assert_int_equal(nonce.size, 16);
	assert_int_equal(json_integer_value(json_object_get(evidence, "pcr")), 15);
	json_decref(evidence);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct error err = {0};

		assert_int_equal(serve_body_parse(bad[i], strlen(bad[i]), &nonce, &evidence, &err),
				 -EPROTO);
		assert_true(err.message[0]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests),
		cmocka_unit_test(refusals),
		cmocka_unit_test(bodies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
