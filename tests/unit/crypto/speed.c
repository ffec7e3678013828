/*
 * Speed of the bulk operations on one core, in GB/s: `meson test --benchmark`, or run it. Prints
 * the best of several rounds for each, beside the bare OpenSSL calls that bound them.
 */
#include "crypto/chunk.h"
#include "crypto/seal_writer.h"
#include "crypto/verity.h"

#include <openssl/evp.h>
#include <string.h>
#include <time.h>

#define CHUNKS 64
#define ROUNDS 9

static uint8_t plain[SEAL_CHUNK_SIZE], sealed[SEAL_CHUNK_SIZE];
static uint8_t tag[SEAL_TAG_SIZE], hash[SEAL_HASH_SIZE];
static struct chunk_cipher *cipher;
static struct fingerprint_key *fingerprint;
static EVP_CIPHER_CTX *bare_gcm;
static EVP_MD_CTX *bare_sha256;

static int run_chunk_open(void)
{
	return chunk_open(cipher, 0, sealed, sizeof(sealed), tag, plain);
}

static int run_chunk_seal(void)
{
	uint8_t unused[SEAL_TAG_SIZE];

	return chunk_seal(cipher, 0, plain, sizeof(plain), sealed, unused);
}

static int run_verity(void)
{
	return verity_chunk_hash(plain, sizeof(plain), UINT64_C(1) << 30, hash);
}

static int run_fingerprint(void)
{
	uint8_t out[FINGERPRINT_SIZE];

	return fingerprint_chunk(fingerprint, 7, plain, sizeof(plain), out);
}

static int run_bare_gcm(void)
{
	int n;

	return EVP_EncryptUpdate(bare_gcm, sealed, &n, plain, (int)sizeof(plain)) == 1 ? 0 : -1;
}

static int run_bare_sha256(void)
{
	return EVP_DigestUpdate(bare_sha256, plain, sizeof(plain)) == 1 ? 0 : -1;
}

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int measure(const char *name, int (*run)(void))
{
	double best = 0;

	for (int round = 0; round < ROUNDS; round++) {
		double start = now_s(), rate;

		for (int i = 0; i < CHUNKS; i++)
			if (run() != 0) {
				fprintf(stderr, "%s failed\n", name);
				return 1;
			}
		rate = (double)CHUNKS * SEAL_CHUNK_SIZE / (now_s() - start) / 1e9;
		best = MAX(best, rate);
	}
	printf("%-24s %6.2f GB/s\n", name, best);
	return 0;
}

int main(void)
{
	_cleanup_(seal_builder_freep) struct seal_builder *b = NULL;
	_cleanup_secret_ struct secret *key = NULL;
	const uint8_t zeros[32] = {0};
	int failed = 0;

	memset(plain, 7, sizeof(plain));
	bare_gcm = EVP_CIPHER_CTX_new();
	bare_sha256 = EVP_MD_CTX_new();
	if (seal_builder_new("speed", &b, NULL) < 0 || secret_new_random(32, &key) < 0 ||
	    seal_builder_start(b, SEAL_CHUNK_SIZE, key, NULL) < 0 ||
	    chunk_cipher_new(seal_builder_keys(b), 1, &cipher) < 0 ||
	    chunk_seal(cipher, 0, plain, sizeof(plain), sealed, tag) < 0 ||
	    fingerprint_key_new(&fingerprint) < 0 || !bare_gcm || !bare_sha256 ||
	    EVP_EncryptInit_ex2(bare_gcm, EVP_aes_256_gcm(), zeros, zeros, NULL) != 1 ||
	    EVP_DigestInit_ex2(bare_sha256, EVP_sha256(), NULL) != 1)
		return 1;
	failed |= measure("chunk_open", run_chunk_open);
	failed |= measure("chunk_seal", run_chunk_seal);
	failed |= measure("OpenSSL AES-256-GCM", run_bare_gcm);
	failed |= measure("verity_chunk_hash", run_verity);
	failed |= measure("OpenSSL SHA-256", run_bare_sha256);
	failed |= measure("fingerprint_chunk", run_fingerprint);
	EVP_CIPHER_CTX_free(bare_gcm);
	EVP_MD_CTX_free(bare_sha256);
	fingerprint_key_free(fingerprint);
	chunk_cipher_free(cipher);
	return failed;
}
