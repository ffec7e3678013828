/* fs/deferral: who loops is answered late, who does not is answered at once. The clock is ours. */
#include "fs/models/deferral.h"

#include "tests/unit/test.h"

#include <errno.h>

#define PAGE ((size_t)4096)
/* So often a reader has failed that the next answer is as late as can be. */
#define LOOPING (DEFERRAL_FREE + 20 * (1 + DEFERRAL_BURST))

static pid_t process_of(pid_t thread)
{
	return thread + 1000;
}

static bool is_there(pid_t process)
{
	return process != 1666;
}

static struct deferral *make(void)
{
	struct deferral *d = NULL;

	assert_int_equal(deferral_new(process_of, is_there, &d), 0);
	return d;
}

/* One failed read; its number is its request. */
static bool fails(struct deferral *d, uint64_t ino, pid_t reader, uint64_t offset, uintptr_t number,
		  uint64_t now_ms)
{
	struct deferred read = {.ino = ino,
				.offset = offset,
				.size = PAGE,
				.reader = reader,
				.request = (void *)number,
				.code = -EIO};

	return deferral_add(d, &read, now_ms);
}

/* Lets a reader ask again as soon as it is answered, `times` times; returns the time at the end. */
static uint64_t loops(struct deferral *d, uint64_t ino, pid_t reader, unsigned times,
		      uint64_t now_ms)
{
	struct deferred read;

	for (unsigned i = 0; i < times; i++) {
		if (!fails(d, ino, reader, 0, 1, now_ms))
			continue;
		now_ms = deferral_next_ms(d);
		assert_true(deferral_take(d, now_ms, &read));
	}
	return now_ms;
}

static void test_first_failures_are_answered_at_once(void **state)
{
	_cleanup_(deferral_freep) struct deferral *d = make();

	for (unsigned i = 0; i < DEFERRAL_FREE; i++)
		assert_false(fails(d, 2, 7, i * PAGE, 1, 1000));
	assert_true(deferral_next_ms(d) == UINT64_MAX);
	assert_true(fails(d, 2, 7, 0, 1, 1000));
}

static void test_a_loop_gets_slower(void **state)
{
	_cleanup_(deferral_freep) struct deferral *d = make();
	uint64_t now = loops(d, 2, 7, DEFERRAL_FREE, 1000), before, last = 0;

	assert_true(now == 1000);
	for (unsigned i = 0; i < 30; i++) {
		before = now;
		now = loops(d, 2, 7, 1 + DEFERRAL_BURST, now);
		assert_true(now - before >= last);
		last = now - before;
		assert_true(last <= DEFERRAL_MAX_MS);
	}
	assert_int_equal(last, DEFERRAL_MAX_MS);
	assert_true(now > 1000 + 20 * (uint64_t)DEFERRAL_MAX_MS);
}

/* Readahead and several mappings: the loop asks for one place after the other. */
static void test_other_places_of_the_file_count(void **state)
{
	_cleanup_(deferral_freep) struct deferral *d = make();
	unsigned late = 0;

	for (unsigned i = 0; i < DEFERRAL_FREE + 5 * (1 + DEFERRAL_BURST); i++)
		late += fails(d, 2, 7, i * PAGE, i + 1, 1000);
	assert_int_equal(late, 5);
}

static void test_others_are_answered_at_once(void **state)
{
	_cleanup_(deferral_freep) struct deferral *d = make();
	uint64_t now = loops(d, 2, 7, LOOPING, 1000);

	assert_false(fails(d, 2, 8, 0, 1, now)); /* another reader of the same place */
	assert_false(fails(d, 3, 7, 0, 1, now)); /* the same reader of another file */
	assert_true(fails(d, 2, 7, 0, 1, now));
}

static void test_unknown_readers_are_told_apart_by_place(void **state)
{
	_cleanup_(deferral_freep) struct deferral *d = make();
	uint64_t now = loops(d, 2, 0, LOOPING, 1000);

	assert_true(fails(d, 2, 0, 0, 1, now));
	assert_false(fails(d, 2, 0, PAGE, 1, now));
}

static void test_a_pause_is_a_new_beginning(void **state)
{
	_cleanup_(deferral_freep) struct deferral *d = make();
	uint64_t now = loops(d, 2, 7, LOOPING, 1000);

	assert_true(loops(d, 2, 7, 1, now + DEFERRAL_FORGET_MS) > now + DEFERRAL_FORGET_MS);
	now += DEFERRAL_FORGET_MS + DEFERRAL_MAX_MS;
	assert_false(fails(d, 2, 7, 0, 1, now + DEFERRAL_FORGET_MS + 1));
}

static void test_what_waits_is_taken_once_when_due(void **state)
{
	_cleanup_(deferral_freep) struct deferral *d = make();
	uint64_t now = loops(d, 2, 7, DEFERRAL_FREE, 1000), due;
	struct deferred read = {0};

	assert_true(fails(d, 2, 7, 0, 42, now));
	due = deferral_next_ms(d);
	assert_true(due > now && due <= now + DEFERRAL_FIRST_MS);
	assert_false(deferral_take(d, due - 1, &read));
	assert_true(deferral_take(d, due, &read));
	assert_true(read.request == (void *)42 && read.code == -EIO);
	assert_false(deferral_take(d, UINT64_MAX, &read));
}

static void test_one_is_taken_out_by_its_request(void **state)
{
	_cleanup_(deferral_freep) struct deferral *d = make();
	struct deferred read;

	loops(d, 2, 7, DEFERRAL_FREE, 1000);
	loops(d, 2, 8, DEFERRAL_FREE, 1000);
	assert_true(fails(d, 2, 7, 0, 70, 1000));
	assert_true(fails(d, 2, 8, 0, 80, 1000));
	assert_null(deferral_find(d, (void *)90));
	deferral_remove(d, deferral_find(d, (void *)70));
	assert_null(deferral_find(d, (void *)70));
	assert_true(deferral_take(d, UINT64_MAX, &read));
	assert_true(read.request == (void *)80);
	assert_true(deferral_next_ms(d) == UINT64_MAX);
}

/* Of what the kernel reads ahead little may wait, or other files' readers have to. */
static void test_little_readahead_waits(void **state)
{
	_cleanup_(deferral_freep) struct deferral *d = make();
	unsigned late = 0;

	for (unsigned i = 0; i < LOOPING; i++) {
		struct deferred read = {.ino = 2, .size = 256 * PAGE, .reader = 7};

		late += deferral_add(d, &read, 1000);
	}
	assert_int_equal(late, DEFERRAL_LARGE_MAX);
	assert_true(fails(d, 2, 7, 0, 1, 1000));
}

/* However many readers come once, those that loop stay known, and what is kept stays bounded. */
static void test_a_crowd_does_not_hide_a_loop(void **state)
{
	_cleanup_(deferral_freep) struct deferral *d = make();
	uint64_t now = loops(d, 2, 7, LOOPING, 1000);

	for (pid_t i = 0; i < 5 * DEFERRAL_READERS_MAX; i++)
		assert_false(fails(d, 2, 100 + i, 0, 1, now));
	assert_true(fails(d, 2, 7, 0, 1, now));
}

static void test_answers_are_bounded(void **state)
{
	_cleanup_(deferral_freep) struct deferral *d = make();
	unsigned late = 0;

	for (unsigned i = 0; i < (DEFERRAL_ANSWERS_MAX + 10) * (1 + DEFERRAL_BURST); i++)
		late += fails(d, 2, 7, 0, i + 1, 1000);
	assert_int_equal(late, DEFERRAL_ANSWERS_MAX);
}

static void test_who_waits_is_shown(void **state)
{
	_cleanup_(deferral_freep) struct deferral *d = make();
	struct deferral_look look;
	uint64_t now = 1000;

	deferral_look(d, 2, now, &look);
	assert_int_equal(look.count, 0);
	for (pid_t i = 0; i < DEFERRAL_SHOWN_MAX + 3; i++)
		loops(d, 2, 10 + i, DEFERRAL_FREE + 1, now);
	loops(d, 2, 90, DEFERRAL_FREE, now); /* not yet */
	loops(d, 2, 666, LOOPING, now);	     /* gone */
	assert_false(fails(d, 2, 10, 5 * PAGE, 1, now));
	deferral_look(d, 2, now + 5, &look);
	assert_int_equal(look.count, DEFERRAL_SHOWN_MAX + 3);
	assert_int_equal(look.shown, DEFERRAL_SHOWN_MAX);
	assert_int_equal(look.readers[0].process, 1010);
	assert_true(look.readers[0].offset == 5 * PAGE);
	deferral_look(d, 3, now + 5, &look);
	assert_int_equal(look.count, 0);
	deferral_look(d, 2, now + DEFERRAL_FORGET_MS, &look);
	assert_int_equal(look.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_failures_are_answered_at_once),
		cmocka_unit_test(test_a_loop_gets_slower),
		cmocka_unit_test(test_other_places_of_the_file_count),
		cmocka_unit_test(test_others_are_answered_at_once),
		cmocka_unit_test(test_unknown_readers_are_told_apart_by_place),
		cmocka_unit_test(test_a_pause_is_a_new_beginning),
		cmocka_unit_test(test_what_waits_is_taken_once_when_due),
		cmocka_unit_test(test_one_is_taken_out_by_its_request),
		cmocka_unit_test(test_little_readahead_waits),
		cmocka_unit_test(test_a_crowd_does_not_hide_a_loop),
		cmocka_unit_test(test_answers_are_bounded),
		cmocka_unit_test(test_who_waits_is_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
