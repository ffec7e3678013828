/* fs/service/life: a hang is seen, a slow network is not taken for one. */
#include "fs/service/life.h"

#include "tests/unit/test.h"

static void test_idle_is_judged_by_the_answer_from_outside(void **state)
{
	struct life l = {0};

	life_start(&l, 1000);
	assert_true(life_is_good(&l, 1000));
	assert_true(life_is_good(&l, 1000 + 10 * LIFE_STUCK_MS));
	l.answered = false;
	assert_false(life_is_good(&l, 1000 + 10 * LIFE_STUCK_MS));
	l.answered = true;
	assert_true(life_is_good(&l, 1000 + 11 * LIFE_STUCK_MS));
}

static void test_waiting_readers_have_until_the_deadline(void **state)
{
	struct life l = {0};

	life_start(&l, 0);
	assert_true(life_is_good(&l, 5000));
	l.started = 40;
	/* All threads wait with the readers: nobody answers from outside, and that is no hang yet.
	 */
	l.answered = false;
	assert_true(life_is_good(&l, 5000 + LIFE_STUCK_MS));
	assert_false(life_is_good(&l, 5001 + LIFE_STUCK_MS));
	assert_false(life_is_good(&l, 5002 + 2 * LIFE_STUCK_MS));
}

static void test_anything_that_moves_counts(void **state)
{
	struct life l = {0};
	uint64_t now = 0;

	life_start(&l, 0);
	l.started = 3;
	for (unsigned i = 0; i < 12; i++) {
		now += LIFE_STUCK_MS;
		if (i % 3 == 0)
			l.started = ++l.finished + 3; /* an answer, well or badly */
		else if (i % 3 == 1)
			l.events++; /* a failed attempt */
		else
			l.answers++; /* of the source */
		assert_true(life_is_good(&l, now));
	}
	assert_false(life_is_good(&l, now + LIFE_STUCK_MS + 1));
}

static void test_waiting_begins_when_somebody_waits(void **state)
{
	struct life l = {0};

	life_start(&l, 0);
	/* A day without a reader, then one that waits: its time has only begun. */
	assert_true(life_is_good(&l, 86400000));
	l.started = 1;
	assert_true(life_is_good(&l, 86400000 + LIFE_STUCK_MS));
}

static void test_has_moved(void **state)
{
	struct life l = {0};

	life_start(&l, 0);
	assert_false(life_has_moved(&l, 1));
	l.events = 1;
	assert_true(life_has_moved(&l, 2));
	assert_false(life_has_moved(&l, 3));
	l.answers = 1;
	assert_true(life_has_moved(&l, 4));
	/* Being asked is no progress. */
	l.started = 9;
	assert_false(life_has_moved(&l, 5));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_idle_is_judged_by_the_answer_from_outside),
		cmocka_unit_test(test_waiting_readers_have_until_the_deadline),
		cmocka_unit_test(test_anything_that_moves_counts),
		cmocka_unit_test(test_waiting_begins_when_somebody_waits),
		cmocka_unit_test(test_has_moved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
