/* fs/formats/gguf_map: the tensor table of a GGUF file, right and wrong. */
#include "fs/formats/gguf_map.h"

#include "tests/unit/crypto/fixture.h"
#include "tests/unit/fs/formats/gguf.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

#define FILE_SIZE (UINT64_C(1) << 30)

static int read_bytes(void *arg, uint64_t offset, uint8_t *buf, size_t size)
{
	const struct gguf_bytes *b = arg;

	/* Behind the header lies whatever. */
	for (size_t i = 0; i < size; i++)
		buf[i] = offset + i < b->size ? b->data[offset + i] : 0xa5;
	return 0;
}

static int parse(struct gguf_bytes *b, uint64_t file_size, struct gguf_map **ret)
{
	return gguf_map_parse(read_bytes, b, file_size, ret);
}

static void refused(struct gguf_bytes *b, uint64_t file_size)
{
	struct gguf_map *m = NULL;

	assert_int_equal(parse(b, file_size, &m), -EPROTO);
	assert_null(m);
	gguf_bytes_done(b);
}

/* One key of each kind, then the tensors. */
static void good_header(struct gguf_bytes *b, uint32_t version)
{
	*b = (struct gguf_bytes){0};
	gguf_start(b, version, 4, 5);
	gguf_string(b, "general.name");
	gguf_u32(b, 8);
	gguf_string(b, "a model");
	gguf_string(b, "general.alignment");
	gguf_u32(b, 4);
	gguf_u32(b, 64);
	gguf_string(b, "tokens");
	gguf_u32(b, 9);
	gguf_u32(b, 8);
	gguf_u64(b, 3000);
	for (int i = 0; i < 3000; i++)
		gguf_string(b, i % 2 ? "token" : "");
	gguf_string(b, "scores");
	gguf_u32(b, 9);
	gguf_u32(b, 6);
	gguf_u64(b, 10);
	for (int i = 0; i < 10; i++)
		gguf_u32(b, 0);
	gguf_string(b, "count");
	gguf_u32(b, 10);
	gguf_u64(b, 7);
	/* Not in the order of the file, and one that is empty. */
	gguf_tensor(b, "output.weight", 300000);
	gguf_tensor(b, "token_embd.weight", 0);
	gguf_tensor(b, "blk.0.empty", 100000);
	gguf_tensor(b, "blk.0.attn_q.weight", 100000);
}

static void test_tensors(void **state)
{
	for (uint32_t version = 2; version <= 3; version++) {
		struct gguf_map *m = NULL;
		struct gguf_bytes b;
		uint64_t data;

		good_header(&b, version);
		data = (b.size + 63) / 64 * 64;
		assert_int_equal(parse(&b, FILE_SIZE, &m), 0);
		assert_int_equal(m->count, 3);
		assert_int_equal(m->tensors[0].begin, data);
		assert_int_equal(m->tensors[0].end, data + 100000);
		assert_int_equal(m->tensors[1].begin, data + 100000);
		assert_int_equal(m->tensors[2].end, FILE_SIZE);
		assert_true(gguf_map_find(m, data - 1) == SIZE_MAX);
		assert_int_equal(gguf_map_find(m, data), 0);
		assert_int_equal(gguf_map_find(m, data + 99999), 0);
		assert_int_equal(gguf_map_find(m, data + 100000), 1);
		assert_int_equal(gguf_map_find(m, FILE_SIZE - 1), 2);
		assert_true(gguf_map_find(m, FILE_SIZE) == SIZE_MAX);
		gguf_map_free(m);
		gguf_bytes_done(&b);
	}
}

static void test_cut_anywhere(void **state)
{
	struct gguf_bytes b;

	good_header(&b, 3);
	for (uint64_t size = 0; size < b.size; size += size < 200 ? 1 : 97) {
		struct gguf_map *m = NULL;

		assert_int_equal(parse(&b, size, &m), -EPROTO);
	}
	gguf_bytes_done(&b);
}

static void test_starts(void **state)
{
	struct gguf_bytes b = {0};

	refused(&b, FILE_SIZE); /* 0xa5 all over */
	gguf_start(&b, 1, 1, 0);
	refused(&b, FILE_SIZE);
	gguf_start(&b, 4, 1, 0);
	refused(&b, FILE_SIZE);
	gguf_start(&b, 3, 0, 0);
	refused(&b, FILE_SIZE);
	gguf_start(&b, 3, GGUF_TENSORS_MAX + 1, 0);
	refused(&b, FILE_SIZE);
	gguf_start(&b, 3, UINT64_MAX, 0);
	refused(&b, FILE_SIZE);
	gguf_start(&b, 3, 1, UINT64_MAX);
	refused(&b, FILE_SIZE);
}

static void value(struct gguf_bytes *b, uint32_t type)
{
	gguf_start(b, 3, 1, 1);
	gguf_string(b, "k");
	gguf_u32(b, type);
}

static void test_values(void **state)
{
	struct gguf_bytes b = {0};

	value(&b, 13);
	refused(&b, FILE_SIZE);
	value(&b, UINT32_MAX);
	refused(&b, FILE_SIZE);
	/* A string that is longer than anything. */
	value(&b, 8);
	gguf_u64(&b, UINT64_MAX);
	refused(&b, FILE_SIZE);
	value(&b, 8);
	gguf_u64(&b, GGUF_HEADER_MAX);
	refused(&b, FILE_SIZE);
	/* Arrays: of arrays, of nothing known, of too many. */
	for (uint32_t type = 9; type <= 13; type += 4) {
		value(&b, 9);
		gguf_u32(&b, type);
		gguf_u64(&b, 1);
		refused(&b, FILE_SIZE);
	}
	value(&b, 9);
	gguf_u32(&b, 10);
	gguf_u64(&b, UINT64_MAX / 8 + 2);
	refused(&b, FILE_SIZE);
	value(&b, 9);
	gguf_u32(&b, 8);
	gguf_u64(&b, UINT64_MAX);
	refused(&b, FILE_SIZE);
}

static void alignment(struct gguf_bytes *b, uint32_t v)
{
	gguf_start(b, 3, 1, 1);
	gguf_string(b, "general.alignment");
	gguf_u32(b, 4);
	gguf_u32(b, v);
	gguf_tensor(b, "t", 0);
}

static void test_places(void **state)
{
	struct gguf_bytes b = {0};

	alignment(&b, 0);
	refused(&b, FILE_SIZE);
	alignment(&b, 48);
	refused(&b, FILE_SIZE);
	alignment(&b, UINT32_C(1) << 31);
	refused(&b, FILE_SIZE);
	/* Past the end, by a little and by much. */
	gguf_start(&b, 3, 1, 0);
	gguf_tensor(&b, "t", 0);
	refused(&b, b.size);
	gguf_start(&b, 3, 1, 0);
	gguf_tensor(&b, "t", FILE_SIZE);
	refused(&b, FILE_SIZE);
	gguf_start(&b, 3, 1, 0);
	gguf_tensor(&b, "t", UINT64_MAX - 5);
	refused(&b, FILE_SIZE);
	/* Too many dimensions. */
	gguf_start(&b, 3, 1, 0);
	gguf_string(&b, "t");
	gguf_u32(&b, 5);
	refused(&b, FILE_SIZE);
}

static int read_nothing(void *arg, uint64_t offset, uint8_t *buf, size_t size)
{
	return -ECONNRESET;
}

static void test_unreadable(void **state)
{
	struct gguf_map *m = NULL;

	assert_int_equal(gguf_map_parse(read_nothing, NULL, FILE_SIZE, &m), -ECONNRESET);
	assert_null(m);
}

/* Whatever the bytes are, it ends, and a map keeps its promises. */
static void test_damaged(void **state)
{
	uint64_t random = 12345;

	for (int i = 0; i < 3000; i++) {
		struct gguf_map *m = NULL;
		struct gguf_bytes b;

		good_header(&b, 3);
		for (int k = 0; k < 3; k++) {
			uint64_t r = test_random(&random);
			size_t at = (size_t)((r >> 8) % (i % 2 ? 200 : b.size));

			b.data[at] = (uint8_t)r;
		}
		if (parse(&b, FILE_SIZE, &m) == 0) {
			assert_in_range(m->count, 1, GGUF_TENSORS_MAX);
			for (size_t t = 0; t < m->count; t++) {
				assert_true(m->tensors[t].begin < m->tensors[t].end);
				assert_true(m->tensors[t].end <= FILE_SIZE);
			}
		}
		gguf_map_free(m);
		gguf_bytes_done(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tensors), cmocka_unit_test(test_cut_anywhere),
		cmocka_unit_test(test_starts),	cmocka_unit_test(test_values),
		cmocka_unit_test(test_places),	cmocka_unit_test(test_unreadable),
		cmocka_unit_test(test_damaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
