/* fs/read/chunk: one reader at a time: every size and range, failures, poison, measuring modes. */
#include "tests/unit/fs/read/bench.h"

#include "crypto/base/digest.h"
#include "fs/read/read_internal.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

#define CHUNK ((uint64_t)SEAL_CHUNK_SIZE)
#define MIB ((uint64_t)1 << 20)

static void every_length(bool by_extents, enum chunk_check check)
{
	static const uint64_t lengths[] = {0,	      1,     4095,	4096,	      4097,
					   CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7};

	for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
		struct bench_options o = {
			.length = lengths[i], .by_extents = by_extents, .check = check};
		struct bench b;
		uint64_t n = lengths[i];

		bench_make(&o, &b);
		bench_compare(&b, b.file, 0, 8 * MIB);
		bench_compare(&b, b.file, 0, 0);
		bench_compare(&b, b.file, n / 2, 4096);
		bench_compare(&b, b.file, n, 4096);
		bench_compare(&b, b.file, n + 1, 1);
		bench_compare(&b, b.file, UINT64_C(1) << 62, 4096);
		for (uint64_t at = 0; at < n; at += CHUNK / 4 - 1)
			bench_compare(&b, b.file, at, CHUNK / 4 - 1);
		for (uint64_t c = CHUNK; c < n; c += CHUNK)
			bench_compare(&b, b.file, c - 3, 7);
		bench_done(&b);
	}
}

static void test_every_length(void **state)
{
	every_length(false, CHUNK_CHECK_TAG);
	every_length(true, CHUNK_CHECK_TAG);
	every_length(false, CHUNK_CHECK_VERITY);
	every_length(true, CHUNK_CHECK_VERITY);
}

static void test_longest_range(void **state)
{
	struct bench_options o = {.length = 12 * MIB, .memory_bytes = 64 * MIB};
	struct bench b;

	bench_make(&o, &b);
	bench_compare(&b, b.file, 1, SEAL_EXTENT_SIZE);
	assert_int_equal(bench_read(b.file, 0, SEAL_EXTENT_SIZE + 1, NULL), -EINVAL);
	bench_done(&b);
}

/* Whatever the kernel's request size, no chunk is fetched or decrypted twice. */
static void test_sequential_reads_fetch_once(void **state)
{
	static const uint64_t steps[] = {128 << 10, 256 << 10, MIB, 333333};

	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		struct bench_options o = {.length = 20 * MIB + 5, .check = CHUNK_CHECK_VERITY};
		struct bench b;

		bench_make(&o, &b);
		for (uint64_t at = 0; at < o.length; at += steps[i])
			bench_compare(&b, b.file, at, steps[i]);
		assert_int_equal(atomic_load(&b.memory.reads), 41);
		for (size_t c = 0; c < 41; c++)
			assert_int_equal(atomic_load(&b.memory.chunk_reads[c]), 1);
		bench_done(&b);
	}
}

/* From S3: a few single chunks until the reader is known, then whole extents, each once. */
static void test_sequential_reads_take_extents(void **state)
{
	struct bench_options o = {.length = 64 * MIB, .by_extents = true, .memory_bytes = 96 * MIB};
	struct bench b;

	bench_make(&o, &b);
	for (uint64_t at = 0; at < o.length; at += MIB)
		bench_compare(&b, b.file, at, MIB);
	assert_in_range(atomic_load(&b.memory.reads), 8, 8 + 6);
	for (size_t c = 16; c < 128; c++)
		assert_int_equal(atomic_load(&b.memory.chunk_reads[c]), 1);
	bench_done(&b);
}

static void test_random_reads_take_chunks(void **state)
{
	struct bench_options o = {.length = 64 * MIB, .by_extents = true};
	struct bench b;

	bench_make(&o, &b);
	for (uint64_t i = 0; i < 8; i++)
		bench_compare(&b, b.file, (i * 37 + 5) % 128 * CHUNK + 100, 4096);
	assert_int_equal(atomic_load(&b.memory.reads), 8);
	bench_done(&b);
}

/* ---------------------------------------------------------------- failures */

struct fault {
	atomic_uint left; /* so many reads of the chunk fail */
	uint64_t chunk;
	int code;
	bool flip; /* damages instead */
};

static int fault_hook(void *arg, const char *name, uint64_t offset, size_t size, uint8_t *buf,
		      struct error *err)
{
	struct fault *f = arg;
	uint64_t at = f->chunk * CHUNK;

	if (at < offset || at >= offset + size || atomic_load(&f->left) == 0)
		return 0;
	atomic_fetch_sub(&f->left, 1);
	if (f->flip)
		buf[at - offset] ^= 1;
	return f->code;
}

static void make_faulty(struct bench *b, struct fault *f, enum chunk_check check)
{
	struct bench_options o = {.length = 4 * CHUNK + 9, .check = check};

	bench_make(&o, b);
	b->memory.hook = fault_hook;
	b->memory.hook_arg = f;
}

static void test_unreachable_once(void **state)
{
	struct fault f = {.left = 1, .chunk = 2, .code = -ECONNRESET};
	struct bench b;

	make_faulty(&b, &f, CHUNK_CHECK_TAG);
	bench_compare(&b, b.file, 0, 4 * CHUNK);
	assert_int_equal(atomic_load(&b.memory.chunk_reads[2]), 2);
	bench_done(&b);
}

static void test_unreachable_is_not_poison(void **state)
{
	static const int codes[] = {-ECONNRESET, -ETIMEDOUT, -EHOSTUNREACH, -EREMOTEIO,
				    -ENOENT,	 -EACCES,    -EIO};

	for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
		struct fault f = {.left = 2, .chunk = 2, .code = codes[i]};
		struct error err = {0};
		struct bench b;

		make_faulty(&b, &f, CHUNK_CHECK_TAG);
		assert_int_equal(bench_read(b.file, 2 * CHUNK + 5, 10, &err), codes[i]);
		assert_non_null(strstr(err.message, "chunk 2"));
		assert_non_null(strstr(err.message, "offset 1048576"));
		assert_non_null(strstr(err.message, BENCH_PAYLOAD));
		assert_int_equal(read_file_poisoned(b.file, NULL), 0);
		bench_compare(&b, b.file, 2 * CHUNK + 5, 10);
		bench_done(&b);
	}
}

static void test_damaged_on_the_way_once(void **state)
{
	struct fault f = {.left = 1, .chunk = 1, .flip = true};
	struct bench b;

	make_faulty(&b, &f, CHUNK_CHECK_VERITY);
	bench_compare(&b, b.file, 0, 4 * CHUNK);
	assert_int_equal(read_file_poisoned(b.file, NULL), 0);
	bench_done(&b);
}

static void assert_poisoned(struct bench *b, int code, const char *words)
{
	unsigned reads = atomic_load(&b->memory.reads);
	struct error err = {0}, again = {0};

	assert_int_equal(read_file_poisoned(b->file, &err), code);
	assert_non_null(strstr(err.message, words));
	assert_non_null(strstr(err.message, "memory/" BENCH_PAYLOAD));
	assert_true(err.hint[0] != '\0');
	for (uint64_t at = 0; at < b->model.length; at += CHUNK / 2)
		assert_int_equal(bench_read(b->file, at, 100, NULL), code);
	assert_int_equal(bench_read(b->file, 0, 1, &again), code);
	assert_string_equal(again.message, err.message);
	assert_int_equal(atomic_load(&b->memory.reads), reads);
}

static void test_damaged(void **state)
{
	struct fault f = {.left = 1000, .chunk = 2, .flip = true};
	struct error err = {0};
	struct bench b;

	make_faulty(&b, &f, CHUNK_CHECK_TAG);
	bench_compare(&b, b.file, 0, CHUNK);
	assert_int_equal(bench_read(b.file, CHUNK, 3 * CHUNK, &err), -EBADMSG);
	assert_non_null(strstr(err.message, "altered chunk"));
	assert_non_null(strstr(err.message, "tampered"));
	assert_non_null(strstr(err.message, "chunk 2 at offset 1048576"));
	assert_non_null(strstr(err.message, "version v1"));
	/* Fetched once more from the origin, not again and again. */
	assert_int_equal(atomic_load(&b.memory.chunk_reads[2]), 2);
	assert_poisoned(&b, -EBADMSG, "altered chunk");
	bench_done(&b);
}

static void test_chunks_exchanged(void **state)
{
	struct bench_options o = {.length = 4 * CHUNK};
	_cleanup_free_ uint8_t *keep = malloc(CHUNK);
	struct bench b;

	bench_make(&o, &b);
	memcpy(keep, b.model.payload, CHUNK);
	memcpy(b.model.payload, b.model.payload + CHUNK, CHUNK);
	memcpy(b.model.payload + CHUNK, keep, CHUNK);
	assert_int_equal(bench_read(b.file, 0, 1, NULL), -EBADMSG);
	assert_poisoned(&b, -EBADMSG, "chunk 0");
	bench_done(&b);
}

static void test_cut_short(void **state)
{
	struct bench_options o = {.length = 4 * CHUNK};
	struct bench b;

	bench_make(&o, &b);
	b.payload->size = 3 * CHUNK + 100;
	bench_compare(&b, b.file, 2 * CHUNK, CHUNK);
	assert_int_equal(bench_read(b.file, 3 * CHUNK, 1, NULL), -EBADMSG);
	assert_poisoned(&b, -EBADMSG, "wrong payload size");
	bench_done(&b);
}

/* Uploaded again: the same bytes in another version are read on, by extents and without. */
static void test_uploaded_again(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		struct bench_options o = {.length = 24 * CHUNK, .by_extents = i == 1};
		struct bench b;

		bench_make(&o, &b);
		bench_compare(&b, b.file, 0, CHUNK);
		b.payload->version = "v2";
		bench_compare(&b, b.file, 20 * CHUNK, CHUNK);
		b.payload->version = "v3";
		for (uint64_t at = 0; at < o.length; at += 2 * CHUNK)
			bench_compare(&b, b.file, at, 2 * CHUNK);
		assert_int_equal(read_file_poisoned(b.file, NULL), 0);
		bench_done(&b);
	}
}

/* What lies there for a time poisons nothing as long as it cannot be the payload. */
static void test_cut_for_a_time(void **state)
{
	struct bench_options o = {.length = 4 * CHUNK};
	struct error err = {0};
	struct bench b;

	bench_make(&o, &b);
	b.payload->version = "v2";
	b.payload->size = CHUNK;
	assert_int_equal(bench_read(b.file, CHUNK, 1, &err), -ESTALE);
	assert_non_null(strstr(err.message, "changed on the server"));
	assert_int_equal(read_file_poisoned(b.file, NULL), 0);
	b.payload->version = "v3";
	b.payload->size = o.length;
	bench_compare(&b, b.file, 0, 4 * CHUNK);
	bench_done(&b);
}

/* Other bytes are poison, whatever their version. */
static void test_changed_on_the_server(void **state)
{
	struct bench_options o = {.length = 4 * CHUNK};
	struct bench b;

	bench_make(&o, &b);
	bench_compare(&b, b.file, 0, CHUNK);
	b.payload->version = "v2";
	b.model.payload[CHUNK + 7] ^= 1;
	assert_int_equal(bench_read(b.file, CHUNK, 1, NULL), -EBADMSG);
	b.payload->version = "v3";
	b.model.payload[CHUNK + 7] ^= 1;
	assert_poisoned(&b, -EBADMSG, "changed on the server");
	bench_done(&b);
}

/* Who holds the data key can make a chunk whose tag fits. */
static void forge(struct bench *b, struct read_file *f, uint64_t index)
{
	uint8_t tag[SEAL_TAG_SIZE];

	bench_forge_chunk(b, index, tag);
	memcpy((uint8_t *)(uintptr_t)seal_tag(f->seal, index), tag, sizeof(tag));
}

static void test_forged_chunk_and_verity(void **state)
{
	struct bench_options o = {.length = 2 * CHUNK + 5, .check = CHUNK_CHECK_VERITY};
	struct error err = {0};
	struct bench b;

	bench_make(&o, &b);
	forge(&b, b.file, 1);
	bench_compare(&b, b.file, 0, CHUNK);
	assert_int_equal(bench_read(b.file, CHUNK, 1, &err), -EBADMSG);
	assert_poisoned(&b, -EBADMSG, "replaced chunk");
	bench_done(&b);
}

static void test_forged_chunk_without_measuring(void **state)
{
	struct bench_options o = {.length = 2 * CHUNK + 5, .check = CHUNK_CHECK_TAG};
	struct bench b;

	bench_make(&o, &b);
	forge(&b, b.file, 1);
	assert_int_equal(bench_read(b.file, CHUNK, 1, NULL), 0);
	bench_done(&b);
}

/* ---------------------------------------------------------------- the flat pass */

static void assert_digests(const struct bench *b, const uint8_t *sha256, const uint8_t *sha384)
{
	uint8_t want[DIGEST_SIZE_MAX];

	assert_int_equal(digest_buffer(DIGEST_SHA256, b->model.plain, b->model.length, want), 0);
	assert_memory_equal(sha256, want, SHA256_SIZE);
	assert_int_equal(digest_buffer(DIGEST_SHA384, b->model.plain, b->model.length, want), 0);
	assert_memory_equal(sha384, want, SHA384_SIZE);
}

static void test_hash(void **state)
{
	static const uint64_t lengths[] = {0, 1, CHUNK, CHUNK + 1, 20 * MIB + 3};

	for (size_t i = 0; i < 2 * ARRAY_LEN(lengths); i++) {
		struct bench_options o = {.length = lengths[i / 2],
					  .by_extents = i % 2 != 0,
					  .check = CHUNK_CHECK_FINGERPRINT};
		uint8_t sha256[SHA256_SIZE], sha384[SHA384_SIZE];
		struct bench b;

		bench_make(&o, &b);
		assert_int_equal(read_file_hash(b.file, sha256, sha384, NULL), 0);
		assert_digests(&b, sha256, sha384);
		for (uint64_t at = 0; at < o.length; at += MIB)
			bench_compare(&b, b.file, at, MIB);
		bench_done(&b);
	}
}

static void test_hash_one_digest(void **state)
{
	struct bench_options o = {.length = 3 * CHUNK + 3, .check = CHUNK_CHECK_TAG};
	uint8_t found[SHA256_SIZE + SHA384_SIZE];
	struct bench b;

	bench_make(&o, &b);
	assert_int_equal(read_file_hash(b.file, NULL, NULL, NULL), -EINVAL);
	assert_int_equal(read_file_hash(b.file, NULL, found + SHA256_SIZE, NULL), 0);
	assert_int_equal(read_file_hash(b.file, found, NULL, NULL), -EINVAL); /* only once */
	read_file_free(b.file);
	b.file = bench_open(&b, CHUNK_CHECK_TAG);
	assert_int_equal(read_file_hash(b.file, found, NULL, NULL), 0);
	assert_digests(&b, found, found + SHA256_SIZE);
	bench_done(&b);
}

static void test_hash_comes_first(void **state)
{
	struct bench_options o = {.length = CHUNK, .check = CHUNK_CHECK_FINGERPRINT};
	struct bench b;

	bench_make(&o, &b);
	assert_int_equal(bench_read(b.file, 0, 1, NULL), -EINVAL);
	bench_done(&b);
}

static void test_hash_of_damaged(void **state)
{
	uint8_t sha256[SHA256_SIZE], sha384[SHA384_SIZE];

	for (uint64_t chunk = 0; chunk < 5; chunk++) {
		struct fault f = {.left = 1000, .chunk = chunk, .flip = true};
		struct error err = {0};
		struct bench b;

		make_faulty(&b, &f, CHUNK_CHECK_FINGERPRINT);
		assert_int_equal(read_file_hash(b.file, sha256, sha384, &err), -EBADMSG);
		assert_non_null(strstr(err.message, "altered chunk"));
		assert_int_equal(bench_read(b.file, 0, 1, NULL), -EBADMSG);
		bench_done(&b);
	}
}

static void test_hash_unreachable(void **state)
{
	struct fault f = {.left = 2, .chunk = 3, .code = -ETIMEDOUT};
	uint8_t sha256[SHA256_SIZE], sha384[SHA384_SIZE];
	struct error err = {0};
	struct bench b;

	make_faulty(&b, &f, CHUNK_CHECK_FINGERPRINT);
	assert_int_equal(read_file_hash(b.file, sha256, sha384, &err), -ETIMEDOUT);
	assert_non_null(strstr(err.message, "chunk 3"));
	bench_done(&b);
}

/* A chunk read again after the pass must be the one that was hashed, tag or no tag. */
static void test_forged_after_hash(void **state)
{
	/* More than the cache holds, so that the first chunk has to be read again. */
	struct bench_options o = {.length = 20 * MIB, .check = CHUNK_CHECK_FINGERPRINT};
	uint8_t sha256[SHA256_SIZE], sha384[SHA384_SIZE];
	struct bench b;

	bench_make(&o, &b);
	assert_int_equal(read_file_hash(b.file, sha256, sha384, NULL), 0);
	bench_compare(&b, b.file, 0, 4096);
	for (uint64_t at = 0; at < o.length; at += MIB)
		bench_compare(&b, b.file, at, MIB);
	forge(&b, b.file, 1);
	bench_compare(&b, b.file, 2 * CHUNK, CHUNK);
	assert_int_equal(bench_read(b.file, CHUNK, 1, NULL), -EBADMSG);
	assert_poisoned(&b, -EBADMSG, "replaced chunk");
	bench_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_length),
		cmocka_unit_test(test_longest_range),
		cmocka_unit_test(test_sequential_reads_fetch_once),
		cmocka_unit_test(test_sequential_reads_take_extents),
		cmocka_unit_test(test_random_reads_take_chunks),
		cmocka_unit_test(test_unreachable_once),
		cmocka_unit_test(test_unreachable_is_not_poison),
		cmocka_unit_test(test_damaged_on_the_way_once),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_chunks_exchanged),
		cmocka_unit_test(test_cut_short),
		cmocka_unit_test(test_uploaded_again),
		cmocka_unit_test(test_cut_for_a_time),
		cmocka_unit_test(test_changed_on_the_server),
		cmocka_unit_test(test_forged_chunk_and_verity),
		cmocka_unit_test(test_forged_chunk_without_measuring),
		cmocka_unit_test(test_hash),
		cmocka_unit_test(test_hash_one_digest),
		cmocka_unit_test(test_hash_comes_first),
		cmocka_unit_test(test_hash_of_damaged),
		cmocka_unit_test(test_hash_unreachable),
		cmocka_unit_test(test_forged_after_hash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
