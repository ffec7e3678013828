/*
 * crypto/aead: AES-256-GCM against the test cases of McGrew and Viega, "The Galois/Counter Mode of
 * Operation", appendix B (13 to 16), which NIST submitted GCM with; and what happens when a tag
 * is wrong.
 */
#include "crypto/aead.h"
#include "crypto/base/encode.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

#define TEXT_MAX 64

struct kat {
	const char *key, *nonce, *aad, *plain, *cipher, *tag;
};

static const struct kat kats[] = {
	{"0000000000000000000000000000000000000000000000000000000000000000",
	 "000000000000000000000000", "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
	{"0000000000000000000000000000000000000000000000000000000000000000",
	 "000000000000000000000000", "", "00000000000000000000000000000000",
	 "cea7403d4d606b6e074ec5d3baf39d18", "d0d1c8a799996bf0265b98b5d48ab919"},
	{"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
	 "cafebabefacedbaddecaf888", "",
	 "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e24"
	 "49a6b525b16aedf5aa0de657ba637b391aafd255",
	 "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b10"
	 "56828838c5f61e6393ba7a0abcc9f662898015ad",
	 "b094dac5d93471bdec1a502270e3cc6c"},
	{"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
	 "cafebabefacedbaddecaf888", "feedfacedeadbeeffeedfacedeadbeefabaddad2",
	 "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e24"
	 "49a6b525b16aedf5aa0de657ba637b39",
	 "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b10"
	 "56828838c5f61e6393ba7a0abcc9f662",
	 "76fc6ece0f4e1768cddf8853bb2d551b"},
};

struct bytes {
	uint8_t key[AEAD_KEY_SIZE], nonce[AEAD_NONCE_SIZE], aad[TEXT_MAX], plain[TEXT_MAX];
	uint8_t cipher[TEXT_MAX], tag[AEAD_TAG_SIZE];
	size_t aad_size, size;
};

static struct bytes load(const struct kat *k)
{
	struct bytes b = {.aad_size = strlen(k->aad) / 2, .size = strlen(k->plain) / 2};

	assert_int_equal(hex_decode(k->key, b.key, sizeof(b.key)), 0);
	assert_int_equal(hex_decode(k->nonce, b.nonce, sizeof(b.nonce)), 0);
	assert_int_equal(hex_decode(k->aad, b.aad, b.aad_size), 0);
	assert_int_equal(hex_decode(k->plain, b.plain, b.size), 0);
	assert_int_equal(hex_decode(k->cipher, b.cipher, b.size), 0);
	assert_int_equal(hex_decode(k->tag, b.tag, sizeof(b.tag)), 0);
	return b;
}

static struct aead_input input(const struct bytes *b, const uint8_t *text)
{
	return (struct aead_input){b->nonce, b->aad, b->aad_size, text, b->size};
}

static void known_answers_both_ways(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(kats); i++) {
		struct bytes b = load(&kats[i]);
		struct aead_input seal = input(&b, b.plain), open = input(&b, b.cipher);
		_cleanup_aead_ struct aead *a = NULL;
		uint8_t out[TEXT_MAX], tag[AEAD_TAG_SIZE];

		assert_int_equal(aead_new(b.key, &a), 0);
		/* One object, both directions, in turn. */
		for (int round = 0; round < 2; round++) {
			assert_int_equal(aead_seal(a, &seal, out, tag), 0);
			assert_memory_equal(out, b.cipher, b.size);
			assert_memory_equal(tag, b.tag, sizeof(tag));
			assert_int_equal(aead_open(a, &open, b.tag, out), 0);
			assert_memory_equal(out, b.plain, b.size);
		}
	}
}

static void works_in_place(void **state)
{
	struct bytes b = load(&kats[3]);
	struct aead_input in = input(&b, b.plain);
	_cleanup_aead_ struct aead *a = NULL;
	uint8_t tag[AEAD_TAG_SIZE];

	assert_int_equal(aead_new(b.key, &a), 0);
	assert_int_equal(aead_seal(a, &in, b.plain, tag), 0);
	assert_memory_equal(b.plain, b.cipher, b.size);
	assert_int_equal(aead_open(a, &in, tag, b.plain), 0);
	assert_memory_equal(b.plain, load(&kats[3]).plain, b.size);
}

/* After each failure the same object must still open what is right. */
static void refuses(struct aead *a, const struct bytes *b)
{
	struct aead_input in = input(b, b->cipher);
	struct bytes right = load(&kats[3]);
	struct aead_input good = input(&right, right.cipher);
	uint8_t out[TEXT_MAX], zeros[TEXT_MAX] = {0};

	memset(out, 0xAA, sizeof(out));
	assert_int_equal(aead_open(a, &in, b->tag, out), -EBADMSG);
	assert_memory_equal(out, zeros, b->size);
	assert_int_equal(aead_open(a, &good, right.tag, out), 0);
}

static void wrong_inputs_are_refused_and_wiped(void **state)
{
	struct bytes right = load(&kats[3]), b;
	_cleanup_aead_ struct aead *a = NULL;

	assert_int_equal(aead_new(right.key, &a), 0);
	for (size_t i = 0; i < 8 * sizeof(b.tag); i++) {
		b = right;
		b.tag[i / 8] ^= (uint8_t)(1U << i % 8);
		refuses(a, &b);
	}
	b = right;
	b.cipher[0] ^= 1;
	refuses(a, &b);
	b = right;
	b.cipher[b.size - 1] ^= 0x80;
	refuses(a, &b);
	b = right;
	b.aad[3] ^= 1;
	refuses(a, &b);
	b = right;
	b.nonce[11] ^= 1;
	refuses(a, &b);
	b = right;
	b.aad_size--;
	refuses(a, &b);
	b = right;
	b.size--;
	refuses(a, &b);
}

static void another_key_is_refused(void **state)
{
	struct bytes b = load(&kats[3]);
	struct aead_input in = input(&b, b.cipher);
	_cleanup_aead_ struct aead *a = NULL;
	uint8_t out[TEXT_MAX];

	b.key[31] ^= 1;
	assert_int_equal(aead_new(b.key, &a), 0);
	assert_int_equal(aead_open(a, &in, b.tag, out), -EBADMSG);
}

/* The same answers when the text comes in pieces of every size, also in place. */
static void a_stream_opens_piece_by_piece(void **state)
{
	for (size_t i = 0; i < 3; i++)
		for (size_t piece = 1; piece <= TEXT_MAX; piece++) {
			struct bytes b = load(&kats[i]);
			_cleanup_(aead_stream_freep) struct aead_stream *s = NULL;

			assert_int_equal(aead_stream_new(b.key, b.nonce, &s), 0);
			for (size_t at = 0; at < b.size; at += piece)
				assert_int_equal(aead_stream_open(s, b.cipher + at,
								  MIN(piece, b.size - at),
								  b.cipher + at),
						 0);
			assert_memory_equal(b.cipher, b.plain, b.size);
			assert_int_equal(aead_stream_finish(s, b.tag), 0);
		}
}

static void a_stream_refuses_what_was_changed(void **state)
{
	struct bytes b = load(&kats[2]);

	for (size_t bit = 0; bit < 8 * (b.size + AEAD_TAG_SIZE); bit++) {
		_cleanup_(aead_stream_freep) struct aead_stream *s = NULL;
		struct bytes bad = b;
		uint8_t out[TEXT_MAX], *p = bit < 8 * b.size ? bad.cipher : bad.tag;
		size_t at = bit < 8 * b.size ? bit : bit - 8 * b.size;

		p[at / 8] ^= (uint8_t)(1 << at % 8);
		assert_int_equal(aead_stream_new(b.key, b.nonce, &s), 0);
		assert_int_equal(aead_stream_open(s, bad.cipher, b.size, out), 0);
		assert_int_equal(aead_stream_finish(s, bad.tag), -EBADMSG);
	}
}

static void sizes_are_bounded(void **state)
{
	struct bytes b = load(&kats[3]);
	struct aead_input in = input(&b, b.plain);
	_cleanup_aead_ struct aead *a = NULL;
	uint8_t tag[AEAD_TAG_SIZE];

	assert_int_equal(aead_new(b.key, &a), 0);
	in.aad_size = AEAD_SIZE_MAX + 1;
	assert_int_equal(aead_seal(a, &in, b.cipher, tag), -EINVAL);
	in = input(&b, b.plain);
	in.text_size = AEAD_SIZE_MAX + 1;
	assert_int_equal(aead_seal(a, &in, b.cipher, tag), -EINVAL);
	aead_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_answers_both_ways),
		cmocka_unit_test(works_in_place),
		cmocka_unit_test(wrong_inputs_are_refused_and_wiped),
		cmocka_unit_test(another_key_is_refused),
		cmocka_unit_test(a_stream_opens_piece_by_piece),
		cmocka_unit_test(a_stream_refuses_what_was_changed),
		cmocka_unit_test(sizes_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
