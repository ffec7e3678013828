/* fs/read/buffers: single flight, room, who is thrown out. */
#include "fs/read/buffers.h"

#include "crypto/base/clock.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

#define COUNT 4
#define SIZE 4096

static int owner_a, owner_b;

static struct buffer_cache *new_cache(void)
{
	struct buffer_cache *c = NULL;

	assert_int_equal(buffer_cache_new(COUNT, SIZE, &c), 0);
	return c;
}

/* Loads a piece as a reader would and lets it go. True: it had to be loaded. */
static bool use(struct buffer_cache *c, const void *owner, uint64_t index, size_t served)
{
	struct buffer *b;
	bool load;

	assert_int_equal(buffer_cache_reserve(c, 1, 0), 0);
	b = buffer_cache_pin(c, owner, index, &load);
	if (load) {
		memset(b->data, (int)index, SIZE);
		b->filled = SIZE;
		buffer_cache_loaded(c, b, 0, NULL);
	}
	assert_int_equal(buffer_cache_wait(c, b, 0, NULL), 0);
	assert_int_equal(b->data[SIZE - 1], (uint8_t)index);
	buffer_cache_unpin(c, b, served);
	buffer_cache_unreserve(c, 1);
	return load;
}

static void test_loaded_once(void **state)
{
	struct buffer_cache *c = new_cache();

	assert_true(use(c, &owner_a, 1, 0));
	assert_false(use(c, &owner_a, 1, 0));
	assert_true(use(c, &owner_b, 1, 0));
	assert_true(use(c, &owner_a, 2, 0));
	assert_false(use(c, &owner_b, 1, 0));
	buffer_cache_free(c);
}

static void test_least_recently_used_goes(void **state)
{
	struct buffer_cache *c = new_cache();

	for (uint64_t i = 0; i < COUNT; i++)
		assert_true(use(c, &owner_a, i, 0));
	assert_false(use(c, &owner_a, 0, 0));
	assert_true(use(c, &owner_a, 9, 0)); /* instead of 1 */
	assert_false(use(c, &owner_a, 0, 0));
	assert_false(use(c, &owner_a, 2, 0));
	assert_true(use(c, &owner_a, 1, 0));
	buffer_cache_free(c);
}

/* A piece that has been served in full makes room before older ones that have not. */
static void test_served_goes_first(void **state)
{
	struct buffer_cache *c = new_cache();

	for (uint64_t i = 0; i < COUNT; i++)
		assert_true(use(c, &owner_a, i, SIZE / 2));
	assert_false(use(c, &owner_a, 3, SIZE / 2));
	assert_true(use(c, &owner_a, 9, 0));
	for (uint64_t i = 0; i < 3; i++)
		assert_false(use(c, &owner_a, i, 0));
	buffer_cache_free(c);
}

static void test_failed_load(void **state)
{
	struct buffer_cache *c = new_cache();
	struct error failure = {0}, seen = {0};
	struct buffer *b, *second;
	bool load;

	error_set(&failure, -ECONNRESET, "why");
	assert_int_equal(buffer_cache_reserve(c, 3, 0), 0);
	b = buffer_cache_pin(c, &owner_a, 5, &load);
	assert_true(load);
	second = buffer_cache_pin(c, &owner_a, 5, &load);
	assert_false(load);
	assert_ptr_equal(b, second);
	buffer_cache_loaded(c, b, -ECONNRESET, &failure);
	assert_int_equal(buffer_cache_wait(c, second, 0, &seen), -ECONNRESET);
	assert_string_equal(seen.message, "why");
	/* Not remembered: whoever comes now loads anew, in another buffer. */
	assert_ptr_not_equal(buffer_cache_pin(c, &owner_a, 5, &load), b);
	assert_true(load);
	buffer_cache_unpin(c, b, 0);
	buffer_cache_unpin(c, second, 0);
	buffer_cache_free(c);
}

static void test_room(void **state)
{
	struct buffer_cache *c = new_cache();
	uint64_t before = monotonic_ms();

	assert_int_equal(buffer_cache_reserve(c, COUNT - 1, 0), 0);
	assert_int_equal(buffer_cache_reserve(c, 2, 0), -EAGAIN);
	assert_int_equal(buffer_cache_reserve(c, 2, before + 50), -ETIMEDOUT);
	assert_true(monotonic_ms() >= before + 50);
	assert_int_equal(buffer_cache_reserve(c, 1, 0), 0);
	buffer_cache_unreserve(c, 2);
	assert_int_equal(buffer_cache_reserve(c, 2, 0), 0);
	buffer_cache_free(c);
}

static void test_pinned_stays(void **state)
{
	struct buffer_cache *c = new_cache();
	struct buffer *b;
	bool load;

	assert_true(use(c, &owner_a, 0, 0));
	assert_int_equal(buffer_cache_reserve(c, 1, 0), 0);
	b = buffer_cache_pin(c, &owner_a, 0, &load);
	assert_false(load);
	for (uint64_t i = 1; i < 20; i++)
		use(c, &owner_a, i, SIZE);
	assert_int_equal(b->index, 0);
	assert_int_equal(b->data[0], 0);
	buffer_cache_unpin(c, b, 0);
	buffer_cache_unreserve(c, 1);
	assert_false(use(c, &owner_a, 0, 0));
	buffer_cache_free(c);
}

static void test_forget(void **state)
{
	struct buffer_cache *c = new_cache();

	use(c, &owner_a, 1, 0);
	use(c, &owner_b, 1, 0);
	buffer_cache_forget(c, &owner_a);
	assert_true(use(c, &owner_a, 1, 0));
	assert_false(use(c, &owner_b, 1, 0));
	buffer_cache_free(c);
}

static void test_wait_has_a_deadline(void **state)
{
	struct buffer_cache *c = new_cache();
	struct buffer *b;
	bool load;

	assert_int_equal(buffer_cache_reserve(c, 1, 0), 0);
	b = buffer_cache_pin(c, &owner_a, 1, &load);
	assert_int_equal(buffer_cache_wait(c, b, monotonic_ms() + 20, NULL), -ETIMEDOUT);
	buffer_cache_free(c);
}

struct waiter {
	struct buffer_cache *cache;
	struct buffer *buffer;
	int code;
};

static void *wait_for_load(void *arg)
{
	struct waiter *w = arg;

	w->code = buffer_cache_wait(w->cache, w->buffer, monotonic_ms() + 60000, NULL);
	return NULL;
}

static void test_stop_ends_waits(void **state)
{
	struct buffer_cache *c = new_cache();
	struct waiter w = {.cache = c};
	pthread_t thread;
	bool load;

	assert_int_equal(buffer_cache_reserve(c, COUNT, 0), 0);
	w.buffer = buffer_cache_pin(c, &owner_a, 1, &load);
	assert_int_equal(pthread_create(&thread, NULL, wait_for_load, &w), 0);
	buffer_cache_stop(c);
	pthread_join(thread, NULL);
	assert_int_equal(w.code, -ECANCELED);
	assert_int_equal(buffer_cache_reserve(c, 1, monotonic_ms() + 60000), -ECANCELED);
	buffer_cache_free(c);
}

/* The buffers that are put away come back without their bytes; what is pinned stays. */
static void test_limit(void **state)
{
	struct buffer_cache *c = new_cache();
	struct buffer *pinned, *others[2];
	bool load;

	for (uint64_t i = 0; i < COUNT; i++)
		assert_true(use(c, &owner_a, i, 0));
	assert_int_equal(buffer_cache_reserve(c, 3, 0), 0);
	pinned = buffer_cache_pin(c, &owner_a, 0, &load);
	assert_false(load);
	buffer_cache_limit(c, 2);
	assert_int_equal(buffer_cache_count(c), 2);
	assert_int_equal(buffer_cache_reserve(c, 1, 0), -EAGAIN);
	assert_int_equal(pinned->data[SIZE - 1], 0);
	/* What was reserved before can be used. */
	for (uint64_t i = 1; i < 3; i++)
		others[i - 1] = buffer_cache_pin(c, &owner_b, i, &load);
	for (uint64_t i = 0; i < 2; i++) {
		buffer_cache_loaded(c, others[i], -EIO, NULL);
		buffer_cache_unpin(c, others[i], 0);
	}
	buffer_cache_unpin(c, pinned, 0);
	buffer_cache_unreserve(c, 3);
	assert_int_equal(buffer_cache_reserve(c, 3, 0), -EAGAIN);
	assert_int_equal(buffer_cache_reserve(c, 2, 0), 0);
	buffer_cache_unreserve(c, 2);
	buffer_cache_limit(c, 100);
	assert_int_equal(buffer_cache_count(c), COUNT);
	for (uint64_t i = 10; i < 10 + COUNT; i++)
		assert_true(use(c, &owner_b, i, 0));
	for (uint64_t i = 10; i < 10 + COUNT; i++)
		assert_false(use(c, &owner_b, i, 0));
	buffer_cache_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_loaded_once),
		cmocka_unit_test(test_least_recently_used_goes),
		cmocka_unit_test(test_served_goes_first),
		cmocka_unit_test(test_failed_load),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_pinned_stays),
		cmocka_unit_test(test_forget),
		cmocka_unit_test(test_wait_has_a_deadline),
		cmocka_unit_test(test_stop_ends_waits),
		cmocka_unit_test(test_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
