/* fs/formats/oms_bundle, oms_statement, oms_writer: other people's bundles, and each refusal. */
#include "fs/formats/oms.h"

#include "crypto/base/encode.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

#define HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
/* SHA-256 of HASH's bytes. */
#define ROOT "5df6e0e2761359d30a8275058e299fcc0381534545f55cf43e41983f5d4c9456"
#define VECTORS TEST_SOURCE_ROOT "/tests/vectors/oms/"

static char *load(const char *name, size_t *ret_size)
{
	char path[512];
	FILE *f;
	char *text = calloc(1, 65536);

	assert_non_null(text);
	(void)snprintf(path, sizeof(path), VECTORS "%s", name);
	f = fopen(path, "re");
	if (!f)
		fail_msg("%s", path);
	*ret_size = fread(text, 1, 65535, f);
	fclose(f);
	return text;
}

static int parse(const char *name, struct oms_bundle **ret, struct error *err)
{
	size_t size;
	_cleanup_free_ char *text = load(name, &size);

	return oms_bundle_parse("bundle", text, size, ret, err);
}

static void test_good_vectors(void **state)
{
	static const struct {
		const char *name;
		bool key;
		size_t certificates, log_entries, timestamps;
	} good[] = {
		{"specification/valid/key.bundle.json", true, 0, 0, 0},
		{"specification/valid/certificate.bundle.json", false, 2, 0, 0},
		{"specification/valid/sigstore.bundle.json", false, 1, 1, 1},
		{"reference/v0.3.1-elliptic-key.sig", false, 0, 0, 0},
		{"reference/v1.0.1-elliptic-key.sig", false, 0, 0, 0},
		{"reference/v1.1.0-elliptic-key.sig", true, 0, 0, 0},
		{"reference/v1.1.0-certificate.sig", false, 2, 0, 0},
		{"reference/v1.1.0-sigstore.sig", false, 1, 1, 1},
		{"reference/p256.sig", true, 0, 0, 0},
	};

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		_cleanup_(oms_bundle_freep) struct oms_bundle *b = NULL;
		_cleanup_(oms_statement_freep) struct oms_statement *s = NULL;
		struct error err = {0};

		if (parse(good[i].name, &b, &err) < 0)
			fail_msg("%s: %s", good[i].name, err.message);
		assert_int_equal(b->hint != NULL, good[i].key);
		assert_int_equal(b->certificates, good[i].certificates);
		assert_int_equal(b->log_entries, good[i].log_entries);
		assert_int_equal(b->timestamps, good[i].timestamps);
		assert_int_equal(b->certificate != NULL, good[i].certificates > 0);
		if (strstr(good[i].name, "v0.3.1")) {
			/* One file, which that version names ".". */
			assert_int_equal(oms_statement_parse("bundle", b->payload, b->payload_size,
							     &s, &err),
					 -EPROTO);
			assert_non_null(strstr(err.message, "it names \".\""));
			continue;
		}
		if (oms_statement_parse("bundle", b->payload, b->payload_size, &s, &err) < 0)
			fail_msg("%s: %s", good[i].name, err.message);
		if (strstr(good[i].name, "p256")) {
			assert_int_equal(s->count, 5);
			assert_string_equal(s->name, "p256-model");
			assert_non_null(oms_statement_find(s, "gewicht-\303\274.txt"));
			assert_true(oms_statement_ignores(s, "cache/x"));
			assert_false(oms_statement_ignores(s, "sub/cache/x"));
			continue;
		}
		assert_int_equal(s->count, 2);
		assert_non_null(oms_statement_find(s, "signme-2"));
		assert_null(oms_statement_find(s, "signme-3"));
	}
}

static void test_bad_vectors(void **state)
{
	static const char *const bad[][2] = {
		{"specification/invalid/empty.bundle.json", "not one whole JSON object"},
		{"specification/invalid/missing-envelope.bundle.json", "no dsseEnvelope"},
		{"specification/invalid/missing-tlog-entries.bundle.json",
		 "no entry of a transparency log"},
		{"specification/invalid/missing-verification-material.bundle.json",
		 "no verificationMaterial"},
	};
	_cleanup_(oms_bundle_freep) struct oms_bundle *b = NULL;
	struct oms_statement *s = NULL;
	struct error err;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		err = (struct error){0};
		assert_int_equal(parse(bad[i][0], &b, &err), -EPROTO);
		if (!strstr(err.message, bad[i][1]))
			fail_msg("%s: %s", bad[i][0], err.message);
	}
	err = (struct error){0};
	assert_int_equal(parse("specification/invalid/wrong-predicate.bundle.json", &b, &err), 0);
	assert_int_equal(oms_statement_parse("bundle", b->payload, b->payload_size, &s, &err),
			 -EPROTO);
	assert_non_null(strstr(err.message, "https://example.com/wrong-predicate/v1.0"));
}

#define MEDIA "\"mediaType\":\"application/vnd.dev.sigstore.bundle.v0.3+json\","
#define KEY "\"verificationMaterial\":{\"publicKey\":{\"hint\":\"ab\"}},"
#define ENVELOPE(more)                                                                      \
	"\"dsseEnvelope\":{\"payload\":\"e30=\",\"payloadType\":\"application/vnd.in-toto+" \
	"json\"," more "}"
#define SIGNATURES "\"signatures\":[{\"sig\":\"AAAA\"}]"

static void test_bundles_refused(void **state)
{
	static const char *const bad[][2] = {
		{"[]", "JSON object"},
		{"{", "JSON object"},
		{"{" MEDIA KEY ENVELOPE(SIGNATURES) "}{}", "JSON object"},
		{"{\"mediaType\":\"text/plain\"," KEY ENVELOPE(SIGNATURES) "}", "mediaType"},
		{"{" KEY ENVELOPE(SIGNATURES) "}", "mediaType"},
		{"{" MEDIA KEY ENVELOPE(SIGNATURES) ",\"messageSignature\":{}}", "members"},
		{"{" MEDIA "\"verificationMaterial\":{}," ENVELOPE(SIGNATURES) "}", "exactly one"},
		{"{" MEDIA "\"verificationMaterial\":{\"publicKey\":{\"hint\":\"ab\"},"
		 "\"certificate\":{\"rawBytes\":\"AAAA\"}}," ENVELOPE(SIGNATURES) "}",
		 "exactly one"},
		{"{" MEDIA "\"verificationMaterial\":{\"publicKey\":{}}," ENVELOPE(SIGNATURES) "}",
		 "neither hint nor rawBytes"},
		{"{" MEDIA
		 "\"verificationMaterial\":{\"x509CertificateChain\":{}}," ENVELOPE(SIGNATURES) "}",
		 "no certificates"},
		{"{" MEDIA "\"verificationMaterial\":{\"x509CertificateChain\":{\"certificates\":"
		 "[{\"rawBytes\":\"?\"}]}}," ENVELOPE(SIGNATURES) "}",
		 "not base64"},
		{"{" MEDIA "\"verificationMaterial\":{\"publicKey\":{\"hint\":\"ab\"},"
		 "\"tlogEntries\":[1]}," ENVELOPE(SIGNATURES) "}",
		 "not a list of objects"},
		{"{" MEDIA KEY "\"dsseEnvelope\":7}", "no dsseEnvelope"},
		{"{" MEDIA KEY ENVELOPE("\"signatures\":[]") "}", "0 signatures"},
		{"{" MEDIA KEY ENVELOPE(
			 "\"signatures\":[{\"sig\":\"AAAA\"},{\"sig\":\"AAAA\"}]") "}",
		 "2 signatures"},
		{"{" MEDIA KEY ENVELOPE("\"signatures\":[{\"sig\":\"A\"}]") "}", "not base64"},
		{"{" MEDIA KEY ENVELOPE("\"signatures\":[{\"sig\":\"AAAA\",\"keyid\":1}]") "}",
		 "unknown members"},
		{"{" MEDIA KEY
		 "\"dsseEnvelope\":{\"payload\":\"e30=\",\"payloadType\":\"text/x\"," SIGNATURES
		 "}}",
		 "of type \"text/x\""},
		{"{" MEDIA KEY
		 "\"dsseEnvelope\":{\"payload\":\"e30\",\"payloadType\":\"application/"
		 "vnd.in-toto+json\"," SIGNATURES "}}",
		 "payload is not base64"},
	};
	static const char good[] =
		"{" MEDIA KEY ENVELOPE("\"signatures\":[{\"sig\":\"AAAA\",\"keyid\":null}]") "}\n";
	struct oms_bundle *b = NULL;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct error err = {0};

		assert_int_equal(oms_bundle_parse("x", bad[i][0], strlen(bad[i][0]), &b, &err),
				 -EPROTO);
		if (!strstr(err.message, bad[i][1]))
			fail_msg("%s\n%s", bad[i][0], err.message);
	}
	assert_null(b);
	assert_int_equal(oms_bundle_parse("x", good, strlen(good), &b, NULL), 0);
	assert_string_equal(b->hint, "ab");
	assert_int_equal(b->payload_size, 2);
	oms_bundle_free(b);
}

static void test_more_parts_than_memory(void **state)
{
	size_t size = 4 << 20;
	_cleanup_free_ char *text = malloc(size);
	struct oms_bundle *b = NULL;
	struct error err = {0};

	assert_non_null(text);
	for (size_t i = 0; i < size; i++)
		text[i] = "{},"[i % 3];
	text[0] = '[';
	assert_int_equal(oms_bundle_parse("x", text, size, &b, &err), -EPROTO);
	assert_non_null(strstr(err.message, "more than 65536 parts"));
}

#define TYPES                                       \
	"\"_type\":\"https://in-toto.io/Statement/" \
	"v1\",\"predicateType\":\"https://model_signing/signature/v1.0\","
#define SUBJECT(root) "\"subject\":[{\"name\":\"m\",\"digest\":{\"sha256\":\"" root "\"}}],"
#define FILE_(name) "{\"name\":\"" name "\",\"digest\":\"" HASH "\",\"algorithm\":\"sha256\"}"
#define HOW(more)                                                                              \
	"\"serialization\":{\"method\":\"files\",\"hash_type\":\"sha256\",\"allow_symlinks\":" \
	"false" more "}"
#define STATEMENT(files, how) \
	"{" TYPES SUBJECT(ROOT) "\"predicate\":{\"resources\":[" files "]," how "}}"

static void test_statements_refused(void **state)
{
	static const char *const bad[][2] = {
		{"", "JSON object"},
		{"{}", "states something of type"},
		{"{" TYPES SUBJECT(ROOT) "\"predicate\":1}", "no predicate"},
		{"{" TYPES SUBJECT(ROOT) "\"predicate\":{\"resources\":[" FILE_("a") "]}}",
		 "of method \"?\""},
		{STATEMENT("", HOW("")), "names 0 files"},
		{STATEMENT("1", HOW("")), "no path"},
		{STATEMENT(FILE_("."), HOW("")), "names \".\""},
		{STATEMENT(FILE_("/a"), HOW("")), "names \"/a\""},
		{STATEMENT(FILE_("a/"), HOW("")), "no path"},
		{STATEMENT(FILE_("a//b"), HOW("")), "no path"},
		{STATEMENT(FILE_("../a"), HOW("")), "no path"},
		{STATEMENT(FILE_("a/./b"), HOW("")), "no path"},
		{STATEMENT(FILE_("a") "," FILE_("a"), HOW("")), "digest of its subject"},
		{STATEMENT("{\"name\":\"a\",\"digest\":\"" HASH "\",\"algorithm\":\"blake3\"}",
			   HOW("")),
		 "no SHA-256"},
		{STATEMENT("{\"name\":\"a\",\"digest\":\"00\",\"algorithm\":\"sha256\"}", HOW("")),
		 "no SHA-256"},
		{STATEMENT(FILE_("a:0:5"), "\"serialization\":{\"method\":\"shards\",\"hash_type\":"
					   "\"sha256\",\"shard_size\":5,\"allow_symlinks\":false}"),
		 "of method \"shards\""},
		{STATEMENT(FILE_("a"), "\"serialization\":{\"method\":\"files\",\"hash_type\":"
				       "\"blake3\",\"allow_symlinks\":false}"),
		 "are \"blake3\""},
		{STATEMENT(FILE_("a"), HOW(",\"shard_size\":5")), "malformed"},
		{STATEMENT(FILE_("a"), HOW(",\"ignore_paths\":\"x\"")), "no list"},
		{STATEMENT(FILE_("a"), HOW(",\"ignore_paths\":[\".\"]")), "ignores \".\""},
		{STATEMENT(FILE_("a"), HOW(",\"ignore_paths\":[\"*.bin\"]")), "ignores \"*.bin\""},
		{STATEMENT(FILE_("a"), HOW(",\"ignore_paths\":[\"../x\"]")), "ignores"},
		{STATEMENT(FILE_("a"), HOW(",\"ignore_paths\":[1]")), "ignores"},
		{"{" TYPES SUBJECT(HASH) "\"predicate\":{\"resources\":[" FILE_("a") "]," HOW(
			 "") "}}",
		 "digest of its subject"},
		{"{" TYPES
		 "\"subject\":[],\"predicate\":{\"resources\":[" FILE_("a") "]," HOW("") "}}",
		 "not one subject"},
	};
	static const char good[] = STATEMENT(FILE_("..a/b:0:5"), HOW(",\"ignore_paths\":[\"z\"]"));
	struct oms_statement *s = NULL;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct error err = {0};

		assert_int_equal(oms_statement_parse("x", bad[i][0], strlen(bad[i][0]), &s, &err),
				 -EPROTO);
		if (!strstr(err.message, bad[i][1]))
			fail_msg("%s\n%s", bad[i][0], err.message);
	}
	assert_null(s);
	assert_int_equal(oms_statement_parse("x", good, strlen(good), &s, NULL), 0);
	assert_true(oms_statement_ignores(s, "z") && oms_statement_ignores(s, "z/a"));
	assert_true(oms_statement_ignores(s, ".git/x") && oms_statement_ignores(s, ".gitignore"));
	assert_false(oms_statement_ignores(s, "zz") || oms_statement_ignores(s, "a/.git"));
	oms_statement_free(s);
}

/* Two files of one name, with the digest that both have. */
static void test_a_name_twice(void **state)
{
	struct oms_file files[] = {{"a", {1}}, {"a", {1}}};
	struct oms_statement in = {.name = "m", .files = files, .count = 2}, *s = NULL;
	_cleanup_free_ char *text = NULL;
	struct error err = {0};

	assert_int_equal(oms_statement_write(&in, &text), 0);
	assert_int_equal(oms_statement_parse("x", text, strlen(text), &s, &err), -EPROTO);
	assert_non_null(strstr(err.message, "names \"a\" twice"));
}

static void test_what_is_written_is_read(void **state)
{
	const char *ignored[] = {"ollama"};
	struct oms_file files[] = {{"a-b", {1}}, {"a/b", {2}}, {"\303\274 \"\\", {3}}};
	struct oms_statement in = {
		.name = "m", .files = files, .count = 3, .ignored = ignored, .ignored_count = 1};
	_cleanup_(oms_statement_freep) struct oms_statement *s = NULL;
	_cleanup_(oms_bundle_freep) struct oms_bundle *b = NULL;
	_cleanup_free_ char *text = NULL, *bundle = NULL;
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t size;

	assert_int_equal(oms_statement_write(&in, &text), 0);
	assert_int_equal(oms_bundle_write(text, (const uint8_t *)"sig", 3, "00", &bundle), 0);
	assert_int_equal(oms_bundle_parse("x", bundle, strlen(bundle), &b, NULL), 0);
	assert_int_equal(b->payload_size, strlen(text));
	assert_memory_equal(b->payload, text, strlen(text));
	assert_int_equal(oms_statement_parse("x", b->payload, b->payload_size, &s, NULL), 0);
	assert_int_equal(s->count, 3);
	assert_int_equal(oms_statement_find(s, "\303\274 \"\\")->sha256[0], 3);
	assert_int_equal(s->ignored_count, 5);
	assert_int_equal(oms_signed_bytes("{}", 2, &bytes, &size), 0);
	assert_int_equal(size, strlen("DSSEv1 28 application/vnd.in-toto+json 2 {}"));
	assert_memory_equal(bytes, "DSSEv1 28 application/vnd.in-toto+json 2 {}", size);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_vectors),
		cmocka_unit_test(test_bad_vectors),
		cmocka_unit_test(test_bundles_refused),
		cmocka_unit_test(test_more_parts_than_memory),
		cmocka_unit_test(test_statements_refused),
		cmocka_unit_test(test_a_name_twice),
		cmocka_unit_test(test_what_is_written_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
