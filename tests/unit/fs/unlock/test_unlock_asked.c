/* Unlocking: which of a seal's KMS keys are asked at all, and how often. */
#include "tests/unit/fs/unlock/world.h"

#include <errno.h>
#include <string.h>

#define REFUSES(n)                                           \
	do {                                                 \
		world.kms[n].code = -EKEYREJECTED;           \
		world.kms[n].says = "AccessDeniedException"; \
		world.kms[n].hint = "";                      \
	} while (0)

/* Who can write a seal cannot make us ask everybody. */
static void test_few_are_asked(void **state)
{
	struct fixture *f = *state;
	struct error err = {0};

	make_seal(f, "23456789ab");
	REFUSES(0);
	assert_int_equal(open_it(f, HAS_AWS, NULL, &err), -EKEYREJECTED);
	assert_string_equal(world.asked, "2345");
	assert_int_equal(world.plain_decrypts, UNLOCK_KMS_ASKED_MAX);
	assert_says(&err, "6 KMS keys were not asked: " ARN_MANY
			  "6 (enough others were asked: see kms-key)");
}

static void test_pinned_keys_only(void **state)
{
	struct fixture *f = *state;
	struct error err = {0};

	make_seal(f, "23456789ab");
	world.pins[world.pin_count++] = "account/777788889999";
	world.pins[world.pin_count++] = ARN_B;
	assert_int_equal(open_it(f, HAS_AWS, NULL, NULL), 0);
	assert_int_equal(world.plain_decrypts, 1);
	assert_string_equal(world.asked, "0");
	REFUSES(1);
	assert_int_equal(open_it(f, HAS_AWS, NULL, &err), -EKEYREJECTED);
	assert_int_equal(world.plain_decrypts, 2);
	assert_says(&err, "AccessDeniedException");
	assert_says(&err, "9 KMS keys were not asked: ");
	/* A whole account. */
	error_clear(&err);
	world.pins[0] = "account/444455556666/us-east-1";
	world.pin_count = 1;
	REFUSES(0);
	assert_int_equal(open_it(f, HAS_AWS, NULL, &err), -EKEYREJECTED);
	assert_string_equal(world.asked, "002345");
}

static void test_nobody_is_pinned(void **state)
{
	struct fixture *f = *state;
	struct error err = {0};

	make_seal(f, "ab");
	world.pins[world.pin_count++] = "account/777788889999";
	assert_int_equal(open_it(f, HAS_AWS, NULL, &err), -ENOKEY);
	assert_says(&err, "2 of its KMS keys were not asked: " ARN_A " (no kms-key names it)");
	assert_non_null(strstr(err.hint, "kms-key"));
	assert_int_equal(world.asked_count, 0);
}

/* Credentials are for one partition, and an ARN must name a key and nothing else. */
static void test_foreign_partitions_and_aliases(void **state)
{
	struct fixture *f = *state;
	struct error err = {0};

	make_seal(f, "CA");
	assert_int_equal(open_it(f, HAS_AWS, NULL, &err), -ENOKEY);
	assert_says(&err, ARN_CHINA " (not of this region's partition)");
	assert_says(&err, ARN_ALIAS " (not the ARN of a KMS key)");
	/* A pin does not change that. */
	world.pins[world.pin_count++] = ARN_CHINA;
	assert_int_equal(open_it(f, HAS_AWS, NULL, NULL), -ENOKEY);
	assert_int_equal(world.asked_count, 0);
	world.partition = "aws-cn";
	world.pins[0] = ARN_A;
	seal_free(f->seal);
	make_seal(f, "a");
	assert_int_equal(open_it(f, HAS_AWS, NULL, NULL), -ENOKEY);
	assert_int_equal(world.asked_count, 0);
}

#define FAILS(n, error)                     \
	do {                                \
		world.kms[n].code = error;  \
		world.kms[n].says = #error; \
		world.kms[n].hint = "";     \
	} while (0)

/* ARN_A ends in 0 and is in eu-central-1, ARN_B in us-east-1, as the many are. */
static void test_the_own_region_first(void **state)
{
	struct fixture *f = *state;

	make_seal(f, "ba23");
	world.region = "eu-central-1";
	FAILS(0, -EKEYREJECTED);
	assert_int_equal(open_it(f, HAS_AWS, NULL, NULL), 0);
	assert_string_equal(world.asked, "00");
	world.asked_count = 0;
	memset(world.asked, 0, sizeof(world.asked));
	world.region = "us-east-1";
	FAILS(1, -EKEYREJECTED);
	assert_int_equal(open_it(f, HAS_AWS, NULL, NULL), -EKEYREJECTED);
	assert_string_equal(world.asked, "0230");
	/* Without a region in the order of the slots. */
	world.asked_count = 0;
	world.region = NULL;
	assert_int_equal(open_it(f, HAS_AWS | HAS_PROVIDER, NULL, NULL), -EKEYREJECTED);
	assert_string_equal(world.asked, "0023");
}

/* What did not answer has no other key asked before the rest had their turn. */
static void test_a_silent_region_comes_last(void **state)
{
	struct fixture *f = *state;
	struct error err = {0};

	make_seal(f, "b2am");
	FAILS(1, -ETIMEDOUT);
	FAILS(0, -EKEYREJECTED);
	FAILS(2, -ENOKEY);
	assert_int_equal(open_it(f, HAS_AWS, NULL, &err), -ETIMEDOUT);
	assert_string_equal(world.asked, "002e");
	assert_says(&err, "slot 0 (" ARN_B "): -ETIMEDOUT; also asked: slot 2 (" ARN_A
			  "): -EKEYREJECTED, slot 1 (" ARN_MANY
			  "2): -EKEYREJECTED, slot 3 (" ARN_MULTI "): -ENOKEY");
}

static void ask_anew(void)
{
	world.asked_count = 0;
	memset(world.asked, 0, sizeof(world.asked));
}

static void test_replicas(void **state)
{
	struct fixture *f = *state;
	struct error err = {0};

	make_seal(f, "am");
	world.region = "eu-west-1";
	assert_int_equal(open_it(f, HAS_AWS, NULL, NULL), 0);
	assert_string_equal(world.asked, "R");
	/* There is none here: the key that the seal names. */
	ask_anew();
	FAILS(3, -ENOKEY);
	FAILS(0, -EKEYREJECTED);
	assert_int_equal(open_it(f, HAS_AWS, NULL, NULL), 0);
	assert_string_equal(world.asked, "R0e");
	ask_anew();
	FAILS(2, -EKEYREJECTED);
	assert_int_equal(open_it(f, HAS_AWS, NULL, &err), -EKEYREJECTED);
	assert_says(&err, "also asked: slot 1 (" ARN_REPLICA "): -ENOKEY");
	/* A pin means what it says. */
	ask_anew();
	world.pins[world.pin_count++] = ARN_MULTI;
	assert_int_equal(open_it(f, HAS_AWS, NULL, NULL), -EKEYREJECTED);
	assert_string_equal(world.asked, "e");
	ask_anew();
	world.pins[0] = ARN_REPLICA;
	assert_int_equal(open_it(f, HAS_AWS, NULL, NULL), -ENOKEY);
	assert_string_equal(world.asked, "R");
	/* Of a key that is for one region nothing is guessed; nor in the key's own region. */
	ask_anew();
	world.pin_count = 0;
	world.region = "us-east-1";
	assert_int_equal(open_it(f, HAS_AWS, NULL, NULL), -EKEYREJECTED);
	assert_string_equal(world.asked, "e0");
}

static void test_repeats_are_few(void **state)
{
	struct unlock_options options = {0};
	struct unlock *u = NULL;
	unsigned n = 0;

	assert_int_equal(unlock_new(&options, &u, NULL), 0);
	while (n < 1000 && unlock_may_repeat(u))
		n++;
	assert_in_range(n, 1, 20);
	unlock_free(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FIXTURE(test_few_are_asked),
		WITH_FIXTURE(test_pinned_keys_only),
		WITH_FIXTURE(test_nobody_is_pinned),
		WITH_FIXTURE(test_foreign_partitions_and_aliases),
		WITH_FIXTURE(test_the_own_region_first),
		WITH_FIXTURE(test_a_silent_region_comes_last),
		WITH_FIXTURE(test_replicas),
		cmocka_unit_test(test_repeats_are_few),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
