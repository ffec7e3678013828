/*
 * rates: how fast this machine does what sealing does to each byte, by the libraries that sealing
 * uses and by nothing else: no file, no queue, one buffer that stays in the CPU's cache.
 *
 *   rates MILLISECONDS     one line of JSON: bytes a second of all CPUs together for each job done
 *                          by every CPU at once, and the number of CPUs
 *
 * Trusts its command line. Must do the work by the same doors as tools/seal/seal_input.c, so that
 * the bound moves with them.
 */
#include "crypto/aead.h"
#include "crypto/backend.h"
#include "crypto/base/digest.h"
#include "crypto/verity.h"

#include <pthread.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define CPUS_MAX 64

struct hand {
	pthread_t id;
	int (*job)(struct hand *h);
	struct aead *aead;
	struct digest *digest;
	uint8_t *chunk;
	double seconds, rate; /* how long to work; bytes a second */
	int code;
};

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int job_cipher(struct hand *h)
{
	static const uint8_t nonce[AEAD_NONCE_SIZE];
	const struct aead_input in = {
		.nonce = nonce, .text = h->chunk, .text_size = SEAL_CHUNK_SIZE};
	uint8_t tag[AEAD_TAG_SIZE];

	return aead_seal(h->aead, &in, h->chunk, tag);
}

static int job_tree(struct hand *h)
{
	uint8_t hash[SEAL_HASH_SIZE];

	return verity_chunk_hash(h->chunk, SEAL_CHUNK_SIZE, UINT64_MAX, hash);
}

static int job_flat(struct hand *h)
{
	return digest_update(h->digest, h->chunk, SEAL_CHUNK_SIZE);
}

static void *work(void *arg)
{
	struct hand *h = arg;
	double began = now_s(), took;
	uint64_t bytes = 0;

	do {
		h->code = h->job(h);
		bytes += SEAL_CHUNK_SIZE;
		took = now_s() - began;
	} while (h->code == 0 && took < h->seconds);
	h->rate = (double)bytes / took;
	return NULL;
}

static int prepare(struct hand *h, enum digest_alg alg)
{
	uint8_t key[AEAD_KEY_SIZE];
	int r;

	h->chunk = malloc(SEAL_CHUNK_SIZE);
	if (!h->chunk || getrandom(key, sizeof(key), 0) != sizeof(key))
		return -1;
	memset(h->chunk, 1, SEAL_CHUNK_SIZE);
	r = aead_new(key, &h->aead);
	return r < 0 ? r : digest_new(alg, &h->digest);
}

/* Bytes a second of all CPUs together; negative when the job fails. */
static double rate_of(int (*job)(struct hand *h), enum digest_alg alg, unsigned cpus,
		      double seconds)
{
	struct hand hands[CPUS_MAX] = {0};
	double total = 0;
	int r = 0;

	for (unsigned i = 0; i < cpus; i++) {
		hands[i].job = job;
		hands[i].seconds = seconds;
		if (prepare(&hands[i], alg) < 0)
			abort();
	}
	for (unsigned i = 0; i < cpus; i++)
		if (pthread_create(&hands[i].id, NULL, work, &hands[i]) != 0)
			abort();
	for (unsigned i = 0; i < cpus; i++) {
		pthread_join(hands[i].id, NULL);
		total += hands[i].rate;
		r = hands[i].code < 0 ? hands[i].code : r;
		aead_free(hands[i].aead);
		digest_free(hands[i].digest);
		free(hands[i].chunk);
	}
	return r < 0 ? r : total;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*job)(struct hand *h);
		enum digest_alg alg;
	} jobs[] = {{"cipher", job_cipher, DIGEST_SHA256},
		    {"tree", job_tree, DIGEST_SHA256},
		    {"sha256", job_flat, DIGEST_SHA256},
		    {"sha384", job_flat, DIGEST_SHA384}};
	char backends[CRYPTO_BACKEND_TEXT_SIZE], *end = NULL;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	double ms = argc == 2 ? strtod(argv[1], &end) : 0;

	if (argc != 2 || *end || !(ms >= 1 && ms <= 60000)) {
		fputs("usage: rates MILLISECONDS\n", stderr);
		return 2;
	}
	cpus = MAX(1L, MIN(cpus, (long)CPUS_MAX));
	for (size_t i = 0; i < ARRAY_LEN(jobs); i++) {
		double rate = rate_of(jobs[i].job, jobs[i].alg, (unsigned)cpus, ms / 1000);

		if (rate < 0) {
			fprintf(stderr, "rates: %s failed\n", jobs[i].name);
			return 1;
		}
		printf("%s\"%s\": %.0f", i ? ", " : "{", jobs[i].name, rate);
	}
	crypto_backend_text(backends);
	printf(", \"cpus\": %ld, \"backends\": \"%s\"}\n", cpus, backends);
	return 0;
}
