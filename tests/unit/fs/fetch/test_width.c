/* fs/fetch/width: how many requests at once, against links that are simulated here. */
#include "fs/fetch/width.h"

#include "tests/unit/test.h"

#define MIB (UINT64_C(1) << 20)

/*
 * A link with latency and a rate for all requests together. Time goes in rounds of one request on
 * each connection: latency, then what they all transfer.
 */
struct simulated {
	uint64_t latency_ms, bytes_per_ms;
	uint64_t now_ms;
	unsigned noise; /* percent, of the time of every other round */
};

static void run_round(struct link *l, struct simulated *s, bool busy)
{
	unsigned at_once = l->limit;
	uint64_t ms = s->latency_ms + at_once * 8 * MIB / s->bytes_per_ms;

	s->now_ms += ms + (at_once % 2 ? ms * s->noise / 100 : 0);
	for (unsigned i = 0; i < at_once; i++)
		link_done(l, 8 * MIB, busy, s->now_ms);
}

static void test_grows_while_it_pays(void **state)
{
	struct simulated s = {.latency_ms = 200, .bytes_per_ms = 10 * MIB, .now_ms = 1000};
	struct link l;

	link_init(&l, 100);
	assert_int_equal(l.limit, LINK_START);
	for (int i = 0; i < 200; i++)
		run_round(&l, &s, true);
	assert_int_equal(l.limit, LINK_MAX);
}

/* A link that one request fills: nothing is gained, and so nothing is taken. */
static void test_narrow_link(void **state)
{
	struct simulated s = {.latency_ms = 5, .bytes_per_ms = MIB / 10, .now_ms = 1000};
	struct link l;
	unsigned most = 0, above = 0;

	link_init(&l, 100);
	for (int i = 0; i < 500; i++) {
		run_round(&l, &s, true);
		most = l.limit > most ? l.limit : most;
		above += l.limit > LINK_START;
	}
	assert_in_range(most, LINK_START, LINK_START + 2);
	/* Tries are rare. */
	assert_in_range(above, 1, 500 / LINK_HOLD_EPOCHS + 1);
}

static void test_slow_reader_is_no_reason(void **state)
{
	struct simulated s = {.latency_ms = 200, .bytes_per_ms = 10 * MIB, .now_ms = 1000};
	struct link l;

	link_init(&l, 100);
	for (int i = 0; i < 100; i++)
		run_round(&l, &s, false);
	assert_int_equal(l.limit, LINK_START);
}

static void test_throttled(void **state)
{
	struct simulated s = {.latency_ms = 200, .bytes_per_ms = 10 * MIB, .now_ms = 1000};
	uint64_t refused_ms;
	struct link l;

	link_init(&l, 16);
	/* A burst counts once. */
	for (int i = 0; i < 50; i++)
		link_throttled(&l, 1000 + (uint64_t)i);
	assert_int_equal(l.limit, LINK_START / 2);
	for (uint64_t i = 1; i < 10; i++)
		link_throttled(&l, 1000 + i * LINK_THROTTLE_MS);
	assert_int_equal(l.limit, 1);
	/* It stays calm for a while, then tries again. */
	refused_ms = s.now_ms = 1000 + 9 * LINK_THROTTLE_MS;
	while (s.now_ms + 2 * s.latency_ms < refused_ms + LINK_CALM_MS) {
		run_round(&l, &s, true);
		assert_int_equal(l.limit, 1);
	}
	for (int i = 0; i < 100; i++)
		run_round(&l, &s, true);
	assert_int_equal(l.limit, 16);
}

static void test_bounds(void **state)
{
	struct simulated s = {.latency_ms = 200, .bytes_per_ms = 10 * MIB, .now_ms = 1000};
	struct link l;

	link_init(&l, 0);
	assert_int_equal(l.limit, 1);
	link_init(&l, 3);
	assert_int_equal(l.limit, 3);
	for (int i = 0; i < 50; i++)
		run_round(&l, &s, true);
	assert_int_equal(l.limit, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_grows_while_it_pays),
		cmocka_unit_test(test_narrow_link),
		cmocka_unit_test(test_slow_reader_is_no_reason),
		cmocka_unit_test(test_throttled),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
