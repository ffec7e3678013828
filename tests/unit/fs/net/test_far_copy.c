/* fs/net/far_copy: the bytes asked for and no others, at every alignment. */
#include "fs/net/far_copy.h"

#include "tests/unit/test.h"

#include <string.h>

#define AROUND 64
#define SIZE_MAX_TESTED 300

static void every_alignment_and_size(void **state)
{
	_Alignas(64) uint8_t to[AROUND + 64 + SIZE_MAX_TESTED + AROUND], want[sizeof(to)];
	_Alignas(64) uint8_t from[16 + SIZE_MAX_TESTED];

	for (size_t i = 0; i < sizeof(from); i++)
		from[i] = (uint8_t)(i * 31 + 7);
	for (size_t offset = 0; offset < 64; offset++) {
		for (size_t size = 0; size <= SIZE_MAX_TESTED; size++) {
			const uint8_t *source = from + size % 16;

			memset(to, 0xa5, sizeof(to));
			memset(want, 0xa5, sizeof(want));
			memcpy(want + AROUND + offset, source, size);
			far_copy(to + AROUND + offset, source, size);
			assert_memory_equal(to, want, sizeof(to));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(every_alignment_and_size)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
