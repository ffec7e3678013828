/*
 * A model sealed by seal_builder, for tests that then read, break or compare it. Every function
 * fails the test on error. Random bytes come from a seed that is printed, so a failure can be run
 * again with SEALEDFS_TEST_SEED=N.
 */
#ifndef SEALEDFS_TEST_FIXTURE_H
#define SEALEDFS_TEST_FIXTURE_H

#include "crypto/seal_writer.h"

struct fixture_options {
	uint64_t length;
	const char *path;	   /* NULL: "model.gguf" */
	const struct facts *facts; /* NULL: none */
	uint64_t sealed_at;
	unsigned slots; /* 0: one; all are for the vectors' KMS key but the last */
	bool sign;	/* with the vectors' owner.pem */
};

struct fixture {
	uint64_t length;
	uint8_t *plain;
	uint8_t *payload;
	uint8_t *seal;
	size_t seal_size;
	struct secret *data_key;
	struct keyfile *kek;
};

void fixture_make(const struct fixture_options *options, struct fixture *ret);
void fixture_done(struct fixture *f);
/* seal_unlock() and seal_load_tables() of the seal whose bytes these are. */
int fixture_unlock(struct seal *s, const uint8_t *bytes, const struct secret *data_key,
		   struct seal_keys **ret, struct error *err);
/* The vectors' owner keys: public key set with one key, private key. The caller frees. */
struct owner_keys *fixture_owner(void);
struct signing_key *fixture_signer(void);
struct keyfile *fixture_keyfile(void); /* a fresh one */

/* xorshift64*: reproducible, not for keys. */
uint64_t test_seed(void);
uint64_t test_random(uint64_t *state);
void test_random_bytes(uint64_t *state, uint8_t *out, size_t size);

#define _cleanup_fixture_ __attribute__((cleanup(fixture_done)))

#endif
