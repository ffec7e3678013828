/*
 * Speed of the bulk operations on one core, in GB/s: `meson test --benchmark crypto/speed -v`, or
 * run it. Each operation by each library that is usable here, beside what `openssl speed` would
 * measure (the bare EVP calls on 512 KiB) in the same rounds. Every round runs all rows once, so
 *that a machine that slows down does so for all; printed are the medians of the rates, and of the
 * ratios to the row's control.
 *
 *	speed_crypto [ROUNDS]             default 9
 *	speed_crypto OPERATION LIBRARY    one row's rate as JSON, for tools/bench. Exit status 2:
 *	                                  there is no such row, or the library cannot be used here
 */
#include "crypto/aead.h"
#include "crypto/backend.h"
#include "crypto/base/digest.h"
#include "crypto/base/secret.h"
#include "crypto/chunk.h"
#include "crypto/seal_writer.h"
#include "crypto/verity.h"

#include <openssl/evp.h>
#include <string.h>
#include <time.h>

#define CHUNKS 40 /* in a row and round: 21 MB */
#define ROUNDS 9
#define ROUNDS_MAX 99
#define FILE_LENGTH ((uint64_t)SEAL_CHUNK_SIZE)

/* Ciphertext of a sequential read comes from memory, not from the caches. */
#define FAR_CHUNKS 256

static uint8_t plain[SEAL_CHUNK_SIZE], sealed[SEAL_CHUNK_SIZE], tag[SEAL_TAG_SIZE];
static uint8_t *far_text;
static size_t far_at;
static struct chunk_cipher *ciphers[2]; /* by OpenSSL, by libipsec-mb */
static struct chunk_cipher *cipher;
static struct aead *aeads[2], *aead;
static struct fingerprint_key *fingerprints[2], *fingerprint;
static EVP_CIPHER_CTX *bare_gcm;
static uint8_t hash[DIGEST_SIZE_MAX];

static int run_open(void)
{
	return chunk_open(cipher, 0, sealed, sizeof(sealed), tag, plain);
}

static int run_seal(void)
{
	static const uint8_t nonce[AEAD_NONCE_SIZE], aad[9];
	struct aead_input in = {nonce, aad, sizeof(aad), plain, sizeof(plain)};
	uint8_t unused[SEAL_TAG_SIZE];

	return aead_seal(aead, &in, sealed, unused);
}

static int run_tree(void)
{
	return verity_chunk_hash(plain, sizeof(plain), FILE_LENGTH, hash);
}

static int run_open_tree(void)
{
	return chunk_open_verity(cipher, 0, sealed, sizeof(sealed), tag, FILE_LENGTH, plain, hash);
}

static const uint8_t *next_far(void)
{
	far_at = (far_at + 1) % FAR_CHUNKS;
	return far_text + far_at * SEAL_CHUNK_SIZE;
}

static int run_open_tree_far(void)
{
	return chunk_open_verity(cipher, 0, next_far(), sizeof(sealed), tag, FILE_LENGTH, plain,
				 hash);
}

static int run_open_then_tree_far(void)
{
	int r = chunk_open(cipher, 0, next_far(), sizeof(sealed), tag, plain);

	return r == 0 ? run_tree() : r;
}

static int run_fingerprint(void)
{
	return fingerprint_chunk(fingerprint, 7, plain, sizeof(plain), hash);
}

static int run_bare_gcm(void)
{
	int n;

	return EVP_EncryptUpdate(bare_gcm, sealed, &n, plain, (int)sizeof(plain)) == 1 ? 0 : -1;
}

static int run_bare_sha256(void)
{
	return digest_buffer(DIGEST_SHA256, plain, sizeof(plain), hash);
}

static int run_bare_sha384(void)
{
	return digest_buffer(DIGEST_SHA384, plain, sizeof(plain), hash);
}

enum library { BARE, OPENSSL, IPSEC_MB };
enum { GCM, SHA256, SHA384, NO_CONTROL = -1 };

static const struct row {
	const char *key, *name;
	enum library by;
	int control; /* index of a row */
	int (*run)(void);
} rows[] = {
	[GCM] = {"gcm", "AES-256-GCM", BARE, NO_CONTROL, run_bare_gcm},
	[SHA256] = {"sha256", "SHA-256", BARE, NO_CONTROL, run_bare_sha256},
	[SHA384] = {"sha384", "SHA-384", BARE, NO_CONTROL, run_bare_sha384},
	{"open", "chunk_open", OPENSSL, GCM, run_open},
	{"open", "chunk_open", IPSEC_MB, GCM, run_open},
	{"seal", "aead_seal", OPENSSL, GCM, run_seal},
	{"seal", "aead_seal", IPSEC_MB, GCM, run_seal},
	{"tree", "verity_chunk_hash", OPENSSL, SHA256, run_tree},
	{"tree", "verity_chunk_hash", IPSEC_MB, SHA256, run_tree},
	{"open-tree", "chunk_open_verity", OPENSSL, SHA256, run_open_tree},
	{"open-tree", "chunk_open_verity", IPSEC_MB, SHA256, run_open_tree},
	{"open-tree-far", "  the same, from memory", OPENSSL, SHA256, run_open_tree_far},
	{"open-tree-far", "  the same, from memory", IPSEC_MB, SHA256, run_open_tree_far},
	{"open-tree-far-2", "  as two passes", OPENSSL, SHA256, run_open_then_tree_far},
	{"open-tree-far-2", "  as two passes", IPSEC_MB, SHA256, run_open_then_tree_far},
	{"fingerprint", "fingerprint_chunk", OPENSSL, GCM, run_fingerprint},
	{"fingerprint", "fingerprint_chunk", IPSEC_MB, GCM, run_fingerprint},
};

static const char *const libraries[] = {"bare", "openssl", "ipsec-mb"};

static double rates[ARRAY_LEN(rows)][ROUNDS_MAX];

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool have(enum library library)
{
	return library != IPSEC_MB || ciphers[1];
}

static int measure(const struct row *row, double *ret)
{
	int which = row->by == IPSEC_MB;
	double start;

	cipher = ciphers[which];
	aead = aeads[which];
	fingerprint = fingerprints[which];
	if (crypto_backend_choose(which ? CRYPTO_IPSEC_MB : CRYPTO_OPENSSL, NULL) < 0)
		return -1;
	start = now_s();
	for (int i = 0; i < CHUNKS; i++)
		if (row->run() != 0) {
			fprintf(stderr, "%s failed\n", row->name);
			return -1;
		}
	*ret = (double)CHUNKS * SEAL_CHUNK_SIZE / (now_s() - start) / 1e9;
	return 0;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(const double *values, const double *controls, size_t count)
{
	double sorted[ROUNDS_MAX];

	for (size_t i = 0; i < count; i++)
		sorted[i] = controls ? values[i] / controls[i] : values[i];
	qsort(sorted, count, sizeof(*sorted), compare);
	return sorted[count / 2];
}

/* What the rows open. */
static int seal_chunk(void)
{
	return chunk_seal_verity(ciphers[0], 0, plain, sizeof(plain), FILE_LENGTH, sealed, tag,
				 hash);
}

static int prepare(const struct seal_builder *b)
{
	static const uint8_t zeros[32];

	for (int i = 0; i < 2; i++) {
		if (crypto_backend_choose(i ? CRYPTO_IPSEC_MB : CRYPTO_OPENSSL, NULL) < 0)
			break;
		if (chunk_cipher_new(seal_builder_keys(b), 1, &ciphers[i]) < 0 ||
		    aead_new(zeros, &aeads[i]) < 0 || fingerprint_key_new(&fingerprints[i]) < 0)
			return -1;
	}
	far_text = malloc((size_t)FAR_CHUNKS * SEAL_CHUNK_SIZE);
	bare_gcm = EVP_CIPHER_CTX_new();
	if (!far_text || !bare_gcm || !ciphers[0] ||
	    EVP_EncryptInit_ex2(bare_gcm, EVP_aes_256_gcm(), zeros, zeros, NULL) != 1 ||
	    seal_chunk() < 0)
		return -1;
	for (size_t i = 0; i < FAR_CHUNKS; i++)
		memcpy(far_text + i * SEAL_CHUNK_SIZE, sealed, SEAL_CHUNK_SIZE);
	return 0;
}

static void print(size_t rounds)
{
	char text[CRYPTO_BACKEND_TEXT_SIZE];

	(void)crypto_backend_choose(CRYPTO_AUTO, NULL);
	crypto_backend_text(text);
	printf("%-26s%-14s%7s\n", "512 KiB, one core", "by", "GB/s");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct row *row = &rows[i];

		if (!have(row->by))
			continue;
		printf("%-26s%-14s%7.2f", row->name, libraries[row->by],
		       median(rates[i], NULL, rounds));
		if (row->control != NO_CONTROL)
			printf("   %.2f x %s", median(rates[i], rates[row->control], rounds),
			       rows[row->control].name);
		printf("\n");
	}
	printf("chosen here: %s\n", text);
}

/* The median of as many rounds as there are by default. */
static int print_one(const char *key, const char *library)
{
	double found[ROUNDS];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (strcmp(rows[i].key, key) != 0 || strcmp(libraries[rows[i].by], library) != 0 ||
		    !have(rows[i].by))
			continue;
		for (size_t round = 0; round < ROUNDS; round++)
			if (measure(&rows[i], &found[round]) < 0)
				return 1;
		printf("{\"bytes_per_s\": %.0f}\n", median(found, NULL, ROUNDS) * 1e9);
		return 0;
	}
	fprintf(stderr, "no %s by %s here\n", key, library);
	return 2;
}

static int print_all(size_t rounds)
{
	for (size_t round = 0; round < rounds; round++)
		for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
			/* What is sealed must be what the next row opens. */
			if (have(rows[i].by) &&
			    (seal_chunk() < 0 || measure(&rows[i], &rates[i][round]) < 0))
				return 1;
		}
	print(rounds);
	return 0;
}

int main(int argc, char **argv)
{
	_cleanup_(seal_builder_freep) struct seal_builder *b = NULL;
	_cleanup_secret_ struct secret *key = NULL;
	size_t rounds = argc == 2 ? strtoul(argv[1], NULL, 10) : ROUNDS;
	int r;

	memset(plain, 7, sizeof(plain));
	if (rounds < 1 || rounds > ROUNDS_MAX || seal_builder_new("speed", &b, NULL) < 0 ||
	    secret_new_random(32, &key) < 0 || seal_builder_start(b, FILE_LENGTH, key, NULL) < 0 ||
	    prepare(b) < 0)
		return 1;
	r = argc == 3 ? print_one(argv[1], argv[2]) : print_all(rounds);
	for (int i = 0; i < 2; i++) {
		aead_free(aeads[i]);
		chunk_cipher_free(ciphers[i]);
		fingerprint_key_free(fingerprints[i]);
	}
	EVP_CIPHER_CTX_free(bare_gcm);
	free(far_text);
	return r;
}
