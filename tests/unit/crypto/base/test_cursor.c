/* crypto/base/cursor: a read past the end fails and stays failed; nothing is read twice. */
#include "crypto/base/cursor.h"
#include "tests/unit/test.h"

static void reads_in_order(void **state)
{
	static const uint8_t data[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 0};
	struct cursor c = cursor_init(data, sizeof(data));

	assert_int_equal(cursor_u8(&c), 1);
	assert_int_equal(cursor_le16(&c), 0x0302);
	assert_int_equal(cursor_be16(&c), 0x0405);
	assert_int_equal(cursor_le32(&c), 0x09080706);
	assert_int_equal(cursor_be32(&c), 0x0a0b0c0d);
	assert_ptr_equal(cursor_take(&c, 2), data + 13);
	cursor_zeros(&c, 2);
	assert_true(cursor_done(&c));
}

static void overrun_is_sticky(void **state)
{
	static const uint8_t data[4] = {1, 2, 3, 4};
	struct cursor c = cursor_init(data, sizeof(data));
	uint8_t copy[8] = {9, 9, 9, 9, 9, 9, 9, 9};

	assert_int_equal(cursor_le64(&c), 0);
	assert_true(c.failed);
	assert_int_equal(cursor_left(&c), 0);
	assert_null(cursor_take(&c, 1));
	cursor_copy(&c, copy, sizeof(copy));
	assert_int_equal(copy[0], 0);
	assert_false(cursor_done(&c));
}

static void huge_sizes_do_not_wrap(void **state)
{
	static const uint8_t data[4];
	struct cursor c = cursor_init(data, sizeof(data));

	assert_non_null(cursor_take(&c, 2));
	assert_null(cursor_take(&c, SIZE_MAX));
}

static void zeros_must_be_zero(void **state)
{
	static const uint8_t data[3] = {0, 1, 0};
	struct cursor c = cursor_init(data, sizeof(data));

	cursor_zeros(&c, 3);
	assert_true(c.failed);
}

static void stores_and_loads_agree(void **state)
{
	uint8_t buf[8] = {0};
	struct cursor c = cursor_init(buf, sizeof(buf));

	put_le64(buf, 0x0102030405060708);
	assert_int_equal(buf[0], 8);
	assert_int_equal(cursor_le64(&c), 0x0102030405060708);
	put_be64(buf, 0x0102030405060708);
	assert_int_equal(buf[0], 1);
	put_le16(buf, 0x0102);
	put_be16(buf + 2, 0x0102);
	put_be32(buf + 4, 0x01020304);
	assert_int_equal(buf[0], 2);
	assert_int_equal(buf[2], 1);
	assert_int_equal(buf[7], 4);
	put_le32(buf, 0x01020304);
	assert_int_equal(buf[3], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_in_order),	  cmocka_unit_test(overrun_is_sticky),
		cmocka_unit_test(huge_sizes_do_not_wrap), cmocka_unit_test(zeros_must_be_zero),
		cmocka_unit_test(stores_and_loads_agree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
