/*
 * Attestation documents: the three that hardware made, every tolerated form, and one refusal for
 * each rule of the parser.
 */
#include "tests/unit/attest/cbor_build.h"
#include "tests/unit/test.h"

#include "attest/document.h"
#include "crypto/base/encode.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DOCS TEST_SOURCE_ROOT "/tests/vectors/attestation-docs/"

static size_t load(const char *name, uint8_t *buf, size_t max)
{
	char path[512];
	size_t n;

	snprintf(path, sizeof(path), DOCS "%s", name);
	FILE *f = fopen(path, "rb");

	assert_non_null(f);
	n = fread(buf, 1, max, f);
	fclose(f);
	assert_in_range(n, 1, max - 1);
	return n;
}

static struct attest_doc *parse_file(const char *name)
{
	uint8_t buf[DOCUMENT_SIZE_MAX];
	struct attest_doc *d = NULL;
	struct error err = {0};
	size_t size = load(name, buf, sizeof(buf));

	assert_int_equal(document_parse(buf, size, &d, &err), 0);
	assert_int_equal(err.code, 0);
	return d;
}

static void assert_pcr(const struct attest_doc *d, unsigned n, const char *hex)
{
	char text[97];

	assert_true(d->pcrs[n].present);
	assert_int_equal(d->pcrs[n].size, 48);
	hex_encode(d->pcrs[n].value, 48, text);
	assert_string_equal(text, hex);
}

#define ZERO_PCR                                           \
	"000000000000000000000000000000000000000000000000" \
	"000000000000000000000000000000000000000000000000"

static void test_nitrotpm(void **state)
{
	struct attest_doc *d = parse_file("nitrotpm-us-east-1-20260203.cose");
	static const size_t bundle[] = {533, 705, 792, 706};
	char text[65];

	assert_int_equal(d->kind, DOCUMENT_NITROTPM);
	assert_string_equal(d->module_id, "i-01cfb383223e42522-tpm0000000000000000");
	assert_true(d->timestamp_ms == UINT64_C(1770113522437));
	for (unsigned n = 0; n < DOCUMENT_PCRS_MAX; n++)
		assert_int_equal(d->pcrs[n].present, n < 24);
	assert_pcr(d, 0,
		   "6e901b16932f6e036747d7a57696e4a2cc864008ebc016826ca1d7bd42ab5ac8286ccf49cde6c02"
		   "84cbc4b63d978a2ec");
	assert_pcr(d, 4,
		   "1a1f166e1995c1e1bfdf1c1d13b1ebc9d5d4e44397501655c911a2062d92063483ca9e17f0264ef"
		   "e336d4b61c5b98d1e");
	assert_pcr(d, 7,
		   "98441c7f7625d10058c47683aec486ce311c633235eb555593a7ee791121e3578ae72d04ecef661"
		   "f272d59058b77af35");
	assert_pcr(d, 12, ZERO_PCR);
	assert_pcr(d, 15, ZERO_PCR);
	for (size_t n = 0; n < 48; n++)
		assert_int_equal(d->pcrs[17].value[n], 0xff);
	assert_int_equal(d->certificate.size, 628);
	assert_int_equal(d->cabundle_count, 4);
	for (size_t n = 0; n < 4; n++)
		assert_int_equal(d->cabundle[n].size, bundle[n]);
	assert_int_equal(d->public_key.size, 65);
	assert_int_equal(d->public_key.data[0], 0x04);
	assert_null(d->user_data.data);
	assert_int_equal(d->nonce.size, 32);
	hex_encode(d->nonce.data, 32, text);
	assert_string_equal(text,
			    "230af3f7c0ec43ccf99a4cab47ac61469a36ea74b1e79740fdf8ccfc8f56161a");
	assert_int_equal(d->payload.size, 4856);
	assert_int_equal(d->payload.data[0], 0xbf);
	assert_int_equal(d->signature.size, 96);
	assert_int_equal(d->protected_header.size, 4);
	document_free(d);
}

static void test_enclave_2022(void **state)
{
	struct attest_doc *d = parse_file("enclave-eu-west-1-20221109.cose");

	assert_int_equal(d->kind, DOCUMENT_ENCLAVE);
	assert_string_equal(d->module_id, "i-04fd167167daacf3b-enc01845e97d0b3eb4e");
	assert_true(d->timestamp_ms == UINT64_C(1668034320696));
	for (unsigned n = 0; n < DOCUMENT_PCRS_MAX; n++)
		assert_int_equal(d->pcrs[n].present, n < 16);
	assert_pcr(d, 0,
		   "22f9e1c949208da55eb01b9b9fc88f87454f77ba133f0d82320b509621c92482152a99d0a12335b"
		   "97178c02d6f977d01");
	assert_int_equal(d->certificate.size, 639);
	assert_int_equal(d->cabundle_count, 4);
	assert_int_equal(d->cabundle[3].size, 642);
	assert_null(d->public_key.data);
	assert_int_equal(d->user_data.size, 32);
	assert_int_equal(d->nonce.size, 32);
	assert_int_equal(d->payload.data[0], 0xa9);
	document_free(d);
}

static void test_enclave_2024(void **state)
{
	struct attest_doc *d = parse_file("enclave-us-east-1-20240907.cose");
	const struct bytes_view *views[] = {&d->public_key, &d->user_data, &d->nonce};

	assert_int_equal(d->kind, DOCUMENT_ENCLAVE);
	assert_string_equal(d->module_id, "i-0a22e5c5f24d22174-enc0191cceb4289903f");
	assert_true(d->timestamp_ms == UINT64_C(1725719859545));
	assert_pcr(d, 4,
		   "45706d7b621e4620a332e147a5ddb000b049f73d47d3e61f6b03d2069152d4df6a4a786ad1c1010"
		   "2b955799a9dc96b44");
	for (size_t v = 0; v < 3; v++) {
		assert_int_equal(views[v]->size, 1024);
		for (size_t n = 0; n < 1024; n++)
			assert_int_equal(views[v]->data[n], 0x01);
	}
	document_free(d);
}

/* A document that can be spoilt in one place at a time. */
struct shape {
	bool tagged, outer_open, map_open, cabundle_open, pcrs_open;
	bool no_protected_alg, protected_crit, protected_twice, protected_extra;
	uint64_t alg; /* 0: -35 */
	bool unprotected_not_map, unprotected_used;
	bool payload_null, payload_trailing, trailing, five_items;
	size_t signature_size; /* 0: 96 */
	const char *omit;      /* this key is left out */
	const char *module_id; /* NULL: a good one */
	const char *digest;
	bool both_pcrs, enclave;
	unsigned pcr_count; /* 0: 24 */
	uint64_t pcr_first;
	size_t pcr_size; /* 0: 48 */
	bool pcr_twice, pcrs_empty, pcrs_text_key;
	bool timestamp_zero, timestamp_text;
	size_t certificate_size;   /* 0: 600 */
	size_t cabundle_count;	   /* 0: 4 */
	size_t cabundle_cert_size; /* 0: 700 */
	bool cabundle_empty, cabundle_empty_cert, certificate_empty;
	size_t public_key, user_data, nonce; /* SIZE_MAX: null */
	bool public_key_empty;
	bool omit_optional;
	const char *again; /* this key once more, null */
	bool unknown_key, unknown_twice, unknown_nested, integer_key;
	bool cut_map;
};

static void key(struct build *b, const struct shape *s, const char *name)
{
	build_text(b, name);
}

static bool wants(const struct shape *s, const char *name)
{
	return !s->omit || strcmp(s->omit, name) != 0;
}

static void build_pcrs(struct build *b, const struct shape *s)
{
	unsigned count = s->pcrs_empty ? 0 : s->pcr_count ? s->pcr_count : 24;

	if (s->pcrs_open)
		build_open_map(b);
	else
		build_head(b, BUILD_MAP, count);
	for (unsigned n = 0; n < count; n++) {
		if (s->pcrs_text_key)
			build_text(b, "0");
		else
			build_head(b, BUILD_UINT, s->pcr_first + (s->pcr_twice && n == 1 ? 0 : n));
		build_filled(b, (uint8_t)n, s->pcr_size ? s->pcr_size : 48);
	}
	if (s->pcrs_open)
		build_break(b);
}

static void build_cabundle(struct build *b, const struct shape *s)
{
	size_t count = s->cabundle_empty ? 0 : s->cabundle_count ? s->cabundle_count : 4;
	size_t size = s->cabundle_cert_size ? s->cabundle_cert_size : 700;

	if (s->cabundle_open)
		build_open_array(b);
	else
		build_head(b, BUILD_ARRAY, count);
	for (size_t n = 0; n < count; n++)
		build_filled(b, 0x30, s->cabundle_empty_cert ? 0 : size);
	if (s->cabundle_open)
		build_break(b);
}

static void build_field(struct build *b, const struct shape *s, const char *name, size_t size)
{
	if (s->omit_optional)
		return;
	key(b, s, name);
	if (size == SIZE_MAX)
		build_null(b);
	else
		build_filled(b, 0xaa, size);
}

static unsigned pair_count(const struct shape *s)
{
	unsigned n = s->omit_optional ? 6 : 9;

	n -= s->omit != NULL;
	n += (unsigned)s->both_pcrs + (s->again != NULL) + s->unknown_key + 2 * s->unknown_twice +
	     s->unknown_nested + s->integer_key + s->cut_map;
	return n;
}

static void build_extras(struct build *b, const struct shape *s)
{
	if (s->both_pcrs) {
		build_text(b, s->enclave ? "nitrotpm_pcrs" : "pcrs");
		build_head(b, BUILD_MAP, 1);
		build_head(b, BUILD_UINT, 23);
		build_filled(b, 0, 48);
	}
	if (s->again) {
		build_text(b, s->again);
		build_null(b);
	}
	for (int n = 0; n < (s->unknown_key ? 1 : 0) + (s->unknown_twice ? 2 : 0); n++) {
		build_text(b, "later");
		build_head(b, BUILD_UINT, 7);
	}
	if (s->unknown_nested) {
		build_text(b, "deep");
		for (int n = 0; n < 40; n++)
			build_head(b, BUILD_ARRAY, 1);
		build_null(b);
	}
	if (s->integer_key) {
		build_head(b, BUILD_UINT, 1);
		build_null(b);
	}
}

static void build_payload(struct build *b, const struct shape *s)
{
	if (s->map_open)
		build_open_map(b);
	else
		build_head(b, BUILD_MAP, pair_count(s));
	if (wants(s, "module_id")) {
		key(b, s, "module_id");
		build_text(b, s->module_id ? s->module_id : "i-0123456789abcdef0-tpm0");
	}
	if (wants(s, "digest")) {
		key(b, s, "digest");
		build_text(b, s->digest ? s->digest : "SHA384");
	}
	if (wants(s, "timestamp")) {
		key(b, s, "timestamp");
		if (s->timestamp_text)
			build_text(b, "1");
		else
			build_head(b, BUILD_UINT, s->timestamp_zero ? 0 : 1770113522437);
	}
	if (wants(s, "pcrs")) {
		key(b, s, s->enclave ? "pcrs" : "nitrotpm_pcrs");
		build_pcrs(b, s);
	}
	if (wants(s, "certificate")) {
		key(b, s, "certificate");
		build_filled(b, 0x30,
			     s->certificate_empty  ? 0
			     : s->certificate_size ? s->certificate_size
						   : 600);
	}
	if (wants(s, "cabundle")) {
		key(b, s, "cabundle");
		build_cabundle(b, s);
	}
	build_field(b, s, "public_key", s->public_key_empty ? 0 : s->public_key);
	build_field(b, s, "user_data", s->user_data);
	build_field(b, s, "nonce", s->nonce);
	build_extras(b, s);
	if (s->map_open && !s->cut_map)
		build_break(b);
	if (s->payload_trailing)
		build_null(b);
}

static void build_protected(struct build *b, const struct shape *s)
{
	unsigned n = (unsigned)!s->no_protected_alg + s->protected_crit + s->protected_twice +
		     s->protected_extra;

	build_head(b, BUILD_MAP, n);
	for (int i = 0; i < (s->no_protected_alg ? 0 : 1) + (s->protected_twice ? 1 : 0); i++) {
		build_head(b, BUILD_UINT, 1);
		build_head(b, BUILD_NEGINT, s->alg ? s->alg : 34);
	}
	if (s->protected_crit) {
		build_head(b, BUILD_UINT, 2);
		build_head(b, BUILD_ARRAY, 0);
	}
	if (s->protected_extra) {
		build_head(b, BUILD_UINT, 4);
		build_filled(b, 1, 3);
	}
}

static void build_document(struct build *b, const struct shape *s)
{
	static struct build part;

	b->size = 0;
	if (s->tagged)
		build_head(b, BUILD_TAG, 18);
	if (s->outer_open)
		build_open_array(b);
	else
		build_head(b, BUILD_ARRAY, s->five_items ? 5 : 4);
	part.size = 0;
	build_protected(&part, s);
	build_bytes(b, part.data, part.size);
	if (s->unprotected_not_map) {
		build_null(b);
	} else if (s->unprotected_used) {
		build_head(b, BUILD_MAP, 1);
		build_head(b, BUILD_UINT, 4);
		build_filled(b, 1, 2);
	} else {
		build_head(b, BUILD_MAP, 0);
	}
	part.size = 0;
	build_payload(&part, s);
	if (s->payload_null)
		build_null(b);
	else
		build_bytes(b, part.data, part.size);
	build_filled(b, 0x5a, s->signature_size ? s->signature_size : 96);
	if (s->five_items)
		build_null(b);
	if (s->outer_open)
		build_break(b);
	if (s->trailing)
		build_byte(b, 0);
}

#define NULLS .public_key = SIZE_MAX, .user_data = SIZE_MAX, .nonce = SIZE_MAX

static void test_tolerated(void **state)
{
	static const struct shape good[] = {
		{NULLS},
		{NULLS, .tagged = true},
		{NULLS, .map_open = true},
		{NULLS, .outer_open = true},
		{NULLS, .cabundle_open = true, .pcrs_open = true, .map_open = true},
		{NULLS, .unprotected_used = true},
		{NULLS, .protected_extra = true},
		{NULLS, .omit_optional = true},
		{NULLS, .unknown_key = true},
		{NULLS, .enclave = true, .pcr_count = 16},
		{NULLS, .enclave = true, .pcr_count = 32},
		{NULLS, .pcr_count = 1, .pcr_first = 23},
		{NULLS, .cabundle_count = 8},
		{NULLS, .certificate_size = 1024, .cabundle_cert_size = 1024},
		{.public_key = 1024, .user_data = 1024, .nonce = 1024},
		{.public_key = 1, .user_data = 0, .nonce = 0},
	};
	static struct build b;

	for (size_t n = 0; n < sizeof(good) / sizeof(good[0]); n++) {
		struct attest_doc *d = NULL;
		struct error err = {0};

		build_document(&b, &good[n]);
		assert_int_equal(document_parse(b.data, b.size, &d, &err), 0);
		assert_int_equal(err.code, 0);
		assert_int_equal(d->kind, good[n].enclave ? DOCUMENT_ENCLAVE : DOCUMENT_NITROTPM);
		assert_int_equal(d->public_key.data != NULL,
				 good[n].public_key != SIZE_MAX && !good[n].omit_optional);
		assert_int_equal(d->user_data.size,
				 good[n].user_data == SIZE_MAX ? 0 : good[n].user_data);
		document_free(d);
	}
}

static void test_refused(void **state)
{
	static const struct {
		struct shape shape;
		const char *says;
	} bad[] = {
		{{NULLS, .trailing = true}, "bytes follow its end"},
		{{NULLS, .payload_trailing = true}, "bytes follow the payload"},
		{{NULLS, .five_items = true}, "array of four"},
		{{NULLS, .five_items = true, .outer_open = true}, "array of four"},
		{{NULLS, .payload_null = true}, "payload is not a byte string"},
		{{NULLS, .no_protected_alg = true}, "algorithm is missing"},
		{{NULLS, .protected_twice = true}, "occurs twice"},
		{{NULLS, .protected_crit = true}, "critical"},
		{{NULLS, .alg = 6}, "not ES384"},
		{{NULLS, .unprotected_not_map = true}, "unprotected header is not a map"},
		{{NULLS, .signature_size = 95}, "the signature has 95 bytes"},
		{{NULLS, .signature_size = 97}, "the signature has 97 bytes"},
		{{NULLS, .omit = "module_id"}, "module_id is missing"},
		{{NULLS, .omit = "digest"}, "digest is missing"},
		{{NULLS, .omit = "timestamp"}, "timestamp is missing"},
		{{NULLS, .omit = "pcrs"}, "either pcrs or nitrotpm_pcrs"},
		{{NULLS, .omit = "certificate"}, "certificate is missing"},
		{{NULLS, .omit = "cabundle"}, "cabundle is missing"},
		{{NULLS, .module_id = ""}, "module_id"},
		{{NULLS, .module_id = "i-\n0"}, "module_id"},
		{{NULLS, .module_id = "i-\xc3\xa9"}, "module_id"},
		{{NULLS, .digest = "SHA256"}, "digest is not"},
		{{NULLS, .digest = "SHA3840"}, "digest is not"},
		{{NULLS, .timestamp_zero = true}, "timestamp"},
		{{NULLS, .timestamp_text = true}, "timestamp"},
		{{NULLS, .both_pcrs = true, .pcr_count = 20}, "either pcrs or nitrotpm_pcrs"},
		{{NULLS, .both_pcrs = true}, "either pcrs or nitrotpm_pcrs"},
		{{NULLS, .pcr_count = 25}, "out of range"},
		{{NULLS, .enclave = true, .pcr_count = 33}, "out of range"},
		{{NULLS, .pcr_count = 1, .pcr_first = UINT64_MAX}, "out of range"},
		{{NULLS, .pcr_twice = true}, "a PCR occurs twice"},
		{{NULLS, .pcrs_empty = true}, "no PCRs"},
		{{NULLS, .pcrs_text_key = true}, "out of range"},
		{{NULLS, .pcr_size = 47}, "a PCR value has 47 bytes"},
		{{NULLS, .pcr_size = 32}, "a PCR value has 32 bytes"},
		{{NULLS, .pcr_size = 64}, "a PCR value has 64 bytes"},
		{{NULLS, .certificate_size = 1025}, "certificate has 1025 bytes"},
		{{NULLS, .certificate_empty = true}, "certificate has 0 bytes"},
		{{NULLS, .cabundle_empty = true}, "cabundle is empty"},
		{{NULLS, .cabundle_count = 9}, "more than 8"},
		{{NULLS, .cabundle_count = 9, .cabundle_open = true}, "more than 8"},
		{{NULLS, .cabundle_empty_cert = true}, "has 0 bytes"},
		{{NULLS, .cabundle_cert_size = 1025}, "has 1025 bytes"},
		{{.public_key = 1025, .user_data = 0, .nonce = 0}, "public_key has 1025 bytes"},
		{{.public_key = 1, .user_data = 1025, .nonce = 0}, "user_data has 1025 bytes"},
		{{.public_key = 1, .user_data = 0, .nonce = 1025}, "nonce has 1025 bytes"},
		{{NULLS, .public_key_empty = true}, "public_key has 0 bytes"},
		{{NULLS, .again = "nonce"}, "occurs twice"},
		{{NULLS, .again = "nonce", .map_open = true}, "occurs twice"},
		{{NULLS, .unknown_twice = true}, "occurs twice"},
		{{NULLS, .unknown_nested = true}, "value of a key is malformed"},
		{{NULLS, .integer_key = true}, "not a text"},
		{{NULLS, .cut_map = true}, "not a text"},
		{{NULLS, .cut_map = true, .map_open = true}, "cut short"},
		{{.public_key = 1024,
		  .user_data = 1024,
		  .nonce = 1024,
		  .cabundle_count = 8,
		  .cabundle_cert_size = 1024,
		  .certificate_size = 1024,
		  .enclave = true,
		  .pcr_count = 32,
		  .pcr_size = 200},
		 "the payload has"},
	};
	static struct build b;

	for (size_t n = 0; n < sizeof(bad) / sizeof(bad[0]); n++) {
		struct attest_doc *d = NULL;
		struct error err = {0};

		build_document(&b, &bad[n].shape);
		assert_int_equal(document_parse(b.data, b.size, &d, &err), -EPROTO);
		assert_null(d);
		assert_int_equal(err.code, -EPROTO);
		if (!strstr(err.message, bad[n].says))
			fail_msg("case %zu: \"%s\" does not say \"%s\"", n, err.message,
				 bad[n].says);
	}
}

static void test_every_prefix_refused(void **state)
{
	uint8_t buf[DOCUMENT_SIZE_MAX];
	size_t size = load("nitrotpm-us-east-1-20260203.cose", buf, sizeof(buf));
	struct attest_doc *d = NULL;

	for (size_t n = 0; n < size; n++) {
		/* An exact allocation, so that a read past the end is seen by ASan. */
		uint8_t *copy = malloc(n ? n : 1);

		assert_non_null(copy);
		memcpy(copy, buf, n);
		assert_int_equal(document_parse(copy, n, &d, NULL), -EPROTO);
		free(copy);
	}
	buf[size] = 0xff;
	assert_int_equal(document_parse(buf, size + 1, &d, NULL), -EPROTO);
	assert_null(d);
}

static void test_too_large(void **state)
{
	uint8_t *big = calloc(1, DOCUMENT_SIZE_MAX + 1);
	struct attest_doc *d = NULL;

	assert_non_null(big);
	assert_int_equal(document_parse(big, DOCUMENT_SIZE_MAX + 1, &d, NULL), -EPROTO);
	assert_int_equal(document_parse(big, DOCUMENT_SIZE_MAX, &d, NULL), -EPROTO);
	free(big);
	document_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nitrotpm),     cmocka_unit_test(test_enclave_2022),
		cmocka_unit_test(test_enclave_2024), cmocka_unit_test(test_tolerated),
		cmocka_unit_test(test_refused),	     cmocka_unit_test(test_every_prefix_refused),
		cmocka_unit_test(test_too_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
