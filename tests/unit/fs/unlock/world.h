/*
 * What the tests of unlocking share: a world in which they play attest_document(), kms_decrypt(),
 * kms_decrypt_attested(), aws_partition() and aws_default_region(), and seals to unlock. All else
 * is the product.
 */
#ifndef SEALEDFS_TEST_UNLOCK_WORLD_H
#define SEALEDFS_TEST_UNLOCK_WORLD_H

#include "fs/unlock/unlock.h"

#include "tests/unit/test.h"

#define ARN_A "arn:aws:kms:eu-central-1:111122223333:key/aaaaaaaa-0000-0000-0000-000000000000"
#define ARN_B "arn:aws:kms:us-east-1:111122223333:key/bbbbbbbb-0000-0000-0000-000000000000"
#define ARN_MANY "arn:aws:kms:us-east-1:444455556666:key/cccccccc-0000-0000-0000-00000000000"
#define ARN_CHINA "arn:aws-cn:kms:cn-north-1:111122223333:key/aaaaaaaa-0000-0000-0000-000000000000"
#define ARN_MULTI "arn:aws:kms:us-east-1:111122223333:key/mrk-0123456789abcdef0123456789abcdee"
#define ARN_REPLICA "arn:aws:kms:eu-west-1:111122223333:key/mrk-0123456789abcdef0123456789abcdee"
#define ARN_ALIAS "arn:aws:kms:us-east-1:111122223333:alias/models"

/* What the world outside does, and what it was asked: the last letter of an ARN, R for the
 * replica. */
struct world {
	struct {
		int code; /* 0: returns key */
		const char *says, *hint;
	} kms[4]; /* A and the many, B, the multi-Region key, its replica in eu-west-1 */
	uint8_t key[32];
	bool malformed;
	int attest_code;
	unsigned attested, attested_decrypts, plain_decrypts;
	uint8_t nonce[32], spki[512], file_id[32];
	size_t spki_size;
	char asked[32];
	unsigned asked_count;
	const char *partition; /* NULL: "aws" */
	const char *region;    /* NULL: not known */
	const char *policy;    /* what GetKeyPolicy answers; NULL: refused */
	unsigned policies_asked;
	const char *policy_file; /* as the option kms-policy */
	const char *pins[4];
	size_t pin_count;
};
extern struct world world;

/* A place for key files, and a seal made for the test. */
struct fixture {
	char dir[64];
	char keyfile[2][96];
	struct secret *data_key;
	struct seal *seal;
};

/* Of cmocka: a new fixture, a world that refuses nothing. */
int set_up(void **state);
int tear_down(void **state);
#define WITH_FIXTURE(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)

/* slots: 'a', 'b' KMS keys; '2' to '9' others; 'm' a multi-Region key; 'C' one in China; 'A' an
 * alias; '0', '1' key files; 'x' a key file's slot with another data key. */
void make_seal(struct fixture *f, const char *slots);

#define HAS_AWS 1
#define HAS_PROVIDER 2
/* Unlocks the seal; a key that comes out must be the right one. keyfile may be NULL. */
int open_it(struct fixture *f, unsigned means, const char *keyfile, struct error *err);
void assert_says(const struct error *err, const char *what);

#endif
