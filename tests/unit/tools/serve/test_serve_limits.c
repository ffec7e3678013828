/* tools/serve_limits: the rate of answers, and nonces that are good once. */
#include "tests/unit/test.h"
#include "tools/serve/serve_limits.h"

#include <string.h>

static unsigned burst(struct serve_rate *r, const char *caller, uint64_t now_ms)
{
	unsigned count = 0;

	while (serve_rate_take(r, caller, caller ? strlen(caller) : 0, now_ms) == 0)
		count++;
	return count;
}

static void rate_of_all(void **state)
{
	static const struct {
		unsigned per_minute, burst;
	} cases[] = {{1, 1}, {6, 1}, {12, 2}, {120, 20}, {600, 100}};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint64_t now = 5000000;
		unsigned wait;
		struct serve_rate r;

		serve_rate_init(&r, cases[i].per_minute, 7);
		assert_int_equal(burst(&r, NULL, now), cases[i].burst);
		/* Who waits as long as he is told gets one answer. */
		wait = serve_rate_take(&r, NULL, 0, now);
		assert_in_range(wait, 1, 60 / cases[i].per_minute + 1);
		now += wait * 1000;
		assert_true(burst(&r, NULL, now) >= 1);
		/* In the long run, no more than the rate. */
		for (unsigned n = 0, s = 0; s < 600; s++) {
			n += burst(&r, NULL, now + s * 1000);
			assert_true(n <= cases[i].per_minute * (s + 1) / 60 + 1);
		}
		/* After a pause, as at the beginning. */
		assert_int_equal(burst(&r, NULL, now + 10000000), cases[i].burst);
	}
}

static void one_caller_leaves_half_to_others(void **state)
{
	struct serve_rate r;

	serve_rate_init(&r, 120, 7);
	assert_int_equal(burst(&r, "one", 1000), 10);
	assert_int_equal(burst(&r, "another", 1000), 10);
	assert_int_equal(burst(&r, "a third", 1000), 0);
	/* What was refused was not counted. */
	assert_int_equal(burst(&r, "a third", 11000), 10);
}

static struct serve_nonces *nonces(void)
{
	struct serve_nonces *n = malloc(sizeof(*n));

	assert_int_equal(serve_nonces_init(n), 0);
	return n;
}

static void a_nonce_is_good_once_for_a_minute(void **state)
{
	_cleanup_free_ struct serve_nonces *n = nonces(), *other = nonces();
	uint8_t a[SERVE_OWN_NONCE_SIZE], b[SERVE_OWN_NONCE_SIZE];

	assert_int_equal(serve_nonce_make(n, 1000, a), 0);
	assert_int_equal(serve_nonce_make(n, 1000, b), 0);
	assert_memory_not_equal(a, b, sizeof(a));
	assert_int_equal(serve_nonce_use(other, 1000, a, sizeof(a), NULL), -EKEYREJECTED);
	assert_int_equal(serve_nonce_use(n, 1000, a, sizeof(a) - 1, NULL), -EKEYREJECTED);
	assert_int_equal(serve_nonce_use(n, 999, a, sizeof(a), NULL), -EKEYREJECTED);
	assert_int_equal(serve_nonce_use(n, 60999, a, sizeof(a), NULL), 0);
	assert_int_equal(serve_nonce_use(n, 60999, a, sizeof(a), NULL), -EKEYREJECTED);
	assert_int_equal(serve_nonce_use(n, 61000, b, sizeof(b), NULL), -EKEYREJECTED);
	for (size_t i = 0; i < sizeof(b); i++) {
		b[i] ^= 1;
		assert_int_equal(serve_nonce_use(n, 1000, b, sizeof(b), NULL), -EKEYREJECTED);
		b[i] ^= 1;
	}
	assert_int_equal(serve_nonce_use(n, 1000, b, sizeof(b), NULL), 0);
}

static void used_nonces_are_bounded_and_never_forgotten(void **state)
{
	_cleanup_free_ struct serve_nonces *n = nonces();
	uint8_t first[SERVE_OWN_NONCE_SIZE], nonce[SERVE_OWN_NONCE_SIZE];

	assert_int_equal(serve_nonce_make(n, 1000, first), 0);
	assert_int_equal(serve_nonce_use(n, 1000, first, sizeof(first), NULL), 0);
	for (size_t i = 1; i < SERVE_USED_MAX; i++) {
		assert_int_equal(serve_nonce_make(n, 2000, nonce), 0);
		assert_int_equal(serve_nonce_use(n, 2000, nonce, sizeof(nonce), NULL), 0);
	}
	assert_int_equal(serve_nonce_make(n, 2000, nonce), 0);
	assert_int_equal(serve_nonce_use(n, 2000, nonce, sizeof(nonce), NULL), -EBUSY);
	assert_int_equal(serve_nonce_use(n, 2000, first, sizeof(first), NULL), -EKEYREJECTED);
	/* The first one has had its minute. */
	assert_int_equal(serve_nonce_use(n, 61000, nonce, sizeof(nonce), NULL), 0);
	assert_int_equal(serve_nonce_use(n, 61000, first, sizeof(first), NULL), -EKEYREJECTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rate_of_all),
		cmocka_unit_test(one_caller_leaves_half_to_others),
		cmocka_unit_test(a_nonce_is_good_once_for_a_minute),
		cmocka_unit_test(used_nonces_are_bounded_and_never_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
