/*
 * crypto/verity against a second, slow tree that follows the kernel's document level by level over
 * the whole file, and against digests that the `fsverity` tool printed.
 */
#include "crypto/base/cleanup.h"
#include "crypto/base/cursor.h"
#include "crypto/base/digest.h"
#include "crypto/base/encode.h"
#include "crypto/verity.h"
#include "tests/unit/crypto/fixture.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

#define HASH 32
#define CHUNK ((uint64_t)SEAL_CHUNK_SIZE)

/* Hashes of all blocks of data, joined; the caller frees. */
static uint8_t *one_level_up(const uint8_t *data, size_t size, size_t *ret_size)
{
	size_t blocks = (size + VERITY_BLOCK_SIZE - 1) / VERITY_BLOCK_SIZE;
	uint8_t *out = malloc(blocks * HASH), block[VERITY_BLOCK_SIZE];

	assert_non_null(out);
	for (size_t i = 0; i < blocks; i++) {
		size_t n = MIN(size - i * sizeof(block), sizeof(block));

		memset(block, 0, sizeof(block));
		memcpy(block, data + i * sizeof(block), n);
		assert_int_equal(digest_buffer(DIGEST_SHA256, block, sizeof(block), out + i * HASH),
				 0);
	}
	*ret_size = blocks * HASH;
	return out;
}

static void slow_digest(const uint8_t *data, size_t size, uint8_t out[HASH])
{
	uint8_t descriptor[256] = {1, 1, 12};
	uint8_t *level;
	size_t n;

	put_le64(descriptor + 8, size);
	if (size > 0) {
		level = one_level_up(data, size, &n);
		while (n > HASH) {
			uint8_t *next = one_level_up(level, n, &n);

			free(level);
			level = next;
		}
		memcpy(descriptor + 16, level, HASH);
		free(level);
	}
	assert_int_equal(digest_buffer(DIGEST_SHA256, descriptor, sizeof(descriptor), out), 0);
}

static void fast_digest(const uint8_t *data, uint64_t size, uint8_t out[HASH])
{
	uint64_t count = (size + CHUNK - 1) / CHUNK;
	_cleanup_free_ uint8_t *hashes = malloc(count * HASH + 1);

	assert_non_null(hashes);
	for (uint64_t i = 0; i < count; i++)
		assert_int_equal(verity_chunk_hash(data + i * CHUNK,
						   (size_t)MIN(size - i * CHUNK, CHUNK), size,
						   hashes + i * HASH),
				 0);
	assert_int_equal(verity_digest(hashes, count, size, out), 0);
}

static void agrees_with_the_slow_tree(void **state)
{
	static const uint64_t corners[] = {
		0,
		1,
		31,
		4095,
		4096,
		4097,
		8192,
		8193,
		CHUNK - 1,
		CHUNK,
		CHUNK + 1,
		CHUNK + 4096,
		CHUNK + 4097,
		2 * CHUNK,
		3 * CHUNK + 7,
		128 * 4096 * 4 - 1,
	};
	const uint64_t max = 4 * CHUNK;
	_cleanup_free_ uint8_t *data = malloc(max);
	uint64_t random = test_seed();

	assert_non_null(data);
	test_random_bytes(&random, data, max);
	for (size_t i = 0; i < ARRAY_LEN(corners) + 40; i++) {
		uint64_t size =
			i < ARRAY_LEN(corners) ? corners[i] : test_random(&random) % (max + 1);
		uint8_t slow[HASH], fast[HASH];

		slow_digest(data, size, slow);
		fast_digest(data, size, fast);
		if (memcmp(slow, fast, HASH) != 0)
			fail_msg("length %llu", (unsigned long long)size);
	}
}

/* From level 1 up, for counts around the edges of a second and third level. */
static void many_chunks(void **state)
{
	static const uint64_t counts[] = {1, 2, 127, 128, 129, 130, 16383, 16384, 16385, 40000};
	_cleanup_free_ uint8_t *hashes = malloc(40000 * HASH);
	uint64_t random = 42;

	assert_non_null(hashes);
	test_random_bytes(&random, hashes, 40000 * HASH);
	for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
		uint8_t descriptor[256] = {1, 1, 12}, slow[HASH], fast[HASH];
		size_t n = counts[i] * HASH;
		uint8_t *level = malloc(n);

		assert_non_null(level);
		memcpy(level, hashes, n);
		while (n > HASH) {
			uint8_t *next = one_level_up(level, n, &n);

			free(level);
			level = next;
		}
		put_le64(descriptor + 8, counts[i] * CHUNK - 5);
		memcpy(descriptor + 16, level, HASH);
		free(level);
		digest_buffer(DIGEST_SHA256, descriptor, sizeof(descriptor), slow);
		assert_int_equal(verity_digest(hashes, counts[i], counts[i] * CHUNK - 5, fast), 0);
		assert_memory_equal(slow, fast, HASH);
	}
}

/* `fsverity digest --compact` (1.5) of: nothing; "a" once; 4096, 4097, 600000 times "a". */
static void known_answers(void **state)
{
	static const struct {
		uint64_t size;
		const char *digest;
	} kats[] = {
		{0, "3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95"},
		{1, "bce75948b9e7510293f8f2720412af9697c1479281323f3f220623fb8e94b557"},
		{4096, "a2a808ddaced77f0b6b3068f47b14b5a1fb3fc43674993ab11b8e7e6f2d089e2"},
		{4097, "18b155c0b6e054f3f7d22488ed15340e74dc161ce2d123e13eb685c3ce565f70"},
		{600000, "1dbcfd45ca6c4a34e3bdd875ae84c6624a0cbe31327e0d5ddb6e08b89a9140ab"},
	};
	_cleanup_free_ uint8_t *data = malloc(600000);

	assert_non_null(data);
	memset(data, 'a', 600000);
	for (size_t i = 0; i < ARRAY_LEN(kats); i++) {
		uint8_t out[HASH];
		char hex[2 * HASH + 1];

		fast_digest(data, kats[i].size, out);
		hex_encode(out, HASH, hex);
		assert_string_equal(hex, kats[i].digest);
	}
}

static void wrong_arguments_are_refused(void **state)
{
	_cleanup_free_ uint8_t *data = calloc(1, SEAL_CHUNK_SIZE + 1);
	uint8_t out[HASH];

	assert_non_null(data);
	assert_int_equal(verity_chunk_hash(data, 0, 10, out), -EINVAL);
	assert_int_equal(verity_chunk_hash(data, SEAL_CHUNK_SIZE + 1, UINT64_MAX, out), -EINVAL);
	assert_int_equal(verity_chunk_hash(data, 11, 10, out), -EINVAL);
	assert_int_equal(verity_digest(data, 1, 0, out), -EINVAL);
	assert_int_equal(verity_digest(data, 0, 1, out), -EINVAL);
	assert_int_equal(verity_digest(data, 1, CHUNK + 1, out), -EINVAL);
	assert_int_equal(verity_digest(data, 2, CHUNK, out), -EINVAL);
	assert_int_equal(verity_digest(data, 0, UINT64_MAX, out), -EINVAL);
	assert_int_equal(verity_digest(data, 0, SEAL_LENGTH_MAX + 1, out), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_the_slow_tree),
		cmocka_unit_test(many_chunks),
		cmocka_unit_test(known_answers),
		cmocka_unit_test(wrong_arguments_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
