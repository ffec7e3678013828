/*
 * OpenSSL or libipsec-mb. Job: decide once, by the CPU's features and by measurements, and describe
 * the decision. Trusts OpenSSL. Must never use libipsec-mb if its results differ from OpenSSL's, or
 * if it was built so that keys stay in registers and on the stack.
 */
#include "crypto/backend.h"

#include "crypto/base/digest.h"
#include "crypto/base/locked.h"
#include "crypto/ipsec_mb.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <string.h>

#define TRIAL_BLOCK ((size_t)256)
/* More than a round of all lanes and of the cipher's loop. */
#define TRIAL_SIZE (17 * TRIAL_BLOCK)

DEFINE_CLEANUP(EVP_CIPHER_CTX *, EVP_CIPHER_CTX_free)

/* Bits of `decided`; 0 before the first decision. */
enum { DECIDED = 1, GCM_BY_IPSEC_MB = 2, TREE_BY_IPSEC_MB = 4 };

static atomic_uint decided;

int crypto_choice_parse(const char *text, enum crypto_choice *ret)
{
	static const char *const names[] = {
		[CRYPTO_AUTO] = "auto",
		[CRYPTO_OPENSSL] = "openssl",
		[CRYPTO_IPSEC_MB] = "ipsec-mb",
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(text, names[i]) == 0) {
			*ret = (enum crypto_choice)i;
			return 0;
		}
	return -EINVAL;
}

/*
 * AES-256-GCM of 512 KiB, one core of a Xeon with AVX512 and SHA extensions (family 6 model 167),
 * GB/s, text in L2, libipsec-mb 1.3 restricted to each kind of CPU:
 *	AVX512 with VAES 15.3 · AVX512, AVX2, AVX, SSE without VAES 5.8 · OpenSSL 3.0 5.8
 *
 * OpenSSL has its own VAES code since 3.1; on another machine 3.5 reached 7.3, where 3.0 reached
 * 4.2 and libipsec-mb 8.6. So libipsec-mb is faster than each OpenSSL so far, but only by its VAES
 * code.
 */
static bool gcm_is_faster(const struct ipsec_mb_traits *t)
{
	return t->vaes_avx512;
}

/*
 * SHA-256 of 128 blocks of 4 KiB, the same way:
 *
 *	AVX512, 16 lanes 3.8 · two streams by SHA extensions 2.1 · AVX2, 8 lanes 1.5 · AVX 0.8
 *	OpenSSL 3.0: SHA extensions 1.7, without them 0.5
 *
 * One stream has nothing to fill lanes with: SHA-256 0.36 against OpenSSL's 1.74, SHA-384 0.58
 * against 0.76. Flat digests are therefore OpenSSL's.
 *
 * Where a CPU has SHA extensions but no GFNI (AMD before Zen 4), libipsec-mb 1.3 falls back to
 * its AVX2 lanes, and OpenSSL is faster.
 */
static bool tree_is_faster(const struct ipsec_mb_traits *t)
{
	return t->avx512 || t->sha_ni_pair || (t->avx2 && !t->sha_ni);
}

static const char *unusable(const struct ipsec_mb_traits *t)
{
	if (!t)
		return "this build was made without it, or it does not start on this machine";
	if (!t->self_test)
		return "its self-test did not pass";
	if (!t->safe_data)
		return "it was built without SAFE_DATA, so it would leave keys in memory";
	if (!t->aes)
		return "this CPU has no AES-NI and PCLMULQDQ";
	if (!t->agrees)
		return "its results differ from OpenSSL's";
	return NULL;
}

int crypto_backend_decide(enum crypto_choice choice, const struct ipsec_mb_traits *traits,
			  struct crypto_backends *ret, const char **ret_why)
{
	const char *why = unusable(traits);

	*ret = (struct crypto_backends){0};
	*ret_why = why;
	switch (choice) {
	case CRYPTO_OPENSSL:
		return 0;
	case CRYPTO_IPSEC_MB:
		if (why)
			return -ENOTSUP;
		*ret = (struct crypto_backends){true, true};
		return 0;
	case CRYPTO_AUTO:
		if (!why)
			*ret = (struct crypto_backends){gcm_is_faster(traits),
							tree_is_faster(traits)};
		return 0;
	}
	return -EINVAL;
}

static bool gcm_agrees(const uint8_t *text)
{
	_cleanup_(ipsec_mb_key_freep) struct ipsec_mb_key *key = NULL;
	_cleanup_(EVP_CIPHER_CTX_freep) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t one[TRIAL_SIZE], other[TRIAL_SIZE], tag_one[16], tag_other[16];
	struct ipsec_mb_gcm g;
	int n = 0;

	/* The text's own first bytes serve as key and nonce. */
	if (!ctx || ipsec_mb_key_new(text, &key) < 0)
		return false;
	ipsec_mb_gcm_begin(key, &g, text, text, 9);
	ipsec_mb_gcm_update(key, &g, text, TRIAL_SIZE, one, true);
	ipsec_mb_gcm_end(key, &g, true, tag_one);
	return EVP_EncryptInit_ex2(ctx, EVP_aes_256_gcm(), text, text, NULL) == 1 &&
	       EVP_EncryptUpdate(ctx, NULL, &n, text, 9) == 1 &&
	       EVP_EncryptUpdate(ctx, other, &n, text, (int)TRIAL_SIZE) == 1 &&
	       EVP_EncryptFinal_ex(ctx, tag_other, &n) == 1 &&
	       EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, tag_other) == 1 &&
	       memcmp(one, other, TRIAL_SIZE) == 0 && memcmp(tag_one, tag_other, 16) == 0;
}

static bool sha256_agrees(const uint8_t *text)
{
	uint8_t hashes[TRIAL_SIZE / TRIAL_BLOCK][32], expected[32];

	if (ipsec_mb_sha256_blocks(text, TRIAL_BLOCK, ARRAY_LEN(hashes), hashes[0]) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(hashes); i++)
		if (digest_buffer(DIGEST_SHA256, text + i * TRIAL_BLOCK, TRIAL_BLOCK, expected) <
			    0 ||
		    memcmp(hashes[i], expected, sizeof(expected)) != 0)
			return false;
	return true;
}

/* All that is known of libipsec-mb here; *ret is good even if it is not there. */
static const struct ipsec_mb_traits *examine(struct ipsec_mb_traits *ret)
{
	uint8_t text[TRIAL_SIZE];

	if (!ipsec_mb_traits(ret))
		return NULL;
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)(i * i >> 3);
	ret->agrees = gcm_agrees(text) && sha256_agrees(text);
	return ret;
}

int crypto_backend_choose(enum crypto_choice choice, struct error *err)
{
	struct ipsec_mb_traits traits;
	struct crypto_backends b;
	const char *why;
	int r = locked_begin();

	if (r < 0) {
		error_hint(err,
			   "raise the limit of memory or of address space (ulimit -v, LimitAS=)");
		return error_set(err, r, "cannot reserve memory for keys");
	}
	r = crypto_backend_decide(choice, examine(&traits), &b, &why);
	if (r < 0) {
		error_hint(err, "leave the choice to the program: crypto=auto");
		return error_set(err, r, "libipsec-mb cannot be used: %s", why);
	}
	atomic_store(&decided, DECIDED | (b.gcm_by_ipsec_mb ? GCM_BY_IPSEC_MB : 0U) |
				       (b.tree_by_ipsec_mb ? TREE_BY_IPSEC_MB : 0U));
	return 0;
}

static unsigned decision(void)
{
	unsigned now = atomic_load(&decided);

	/* Threads that get here at the same time decide the same. */
	if (!now) {
		(void)crypto_backend_choose(CRYPTO_AUTO, NULL);
		now = atomic_load(&decided);
	}
	return now;
}

bool crypto_gcm_by_ipsec_mb(void)
{
	return decision() & GCM_BY_IPSEC_MB;
}

bool crypto_tree_by_ipsec_mb(void)
{
	return decision() & TREE_BY_IPSEC_MB;
}

static void name_one(bool by_ipsec_mb, const struct ipsec_mb_traits *t, const char *how, char *out,
		     size_t size)
{
	if (by_ipsec_mb)
		snprintf(out, size, "ipsec-mb %s (%s)", t->version, how);
	else
		snprintf(out, size, "OpenSSL %s", OpenSSL_version(OPENSSL_VERSION_STRING));
}

void crypto_backend_text(char out[CRYPTO_BACKEND_TEXT_SIZE])
{
	struct ipsec_mb_traits t;
	char gcm[48], tree[48];

	(void)ipsec_mb_traits(&t);
	name_one(crypto_gcm_by_ipsec_mb(), &t, t.vaes_avx512 ? "AVX512 VAES" : "AES-NI", gcm,
		 sizeof(gcm));
	name_one(crypto_tree_by_ipsec_mb(), &t,
		 t.avx512	 ? "AVX512, 16 lanes"
		 : t.sha_ni_pair ? "SHA extensions, 2 lanes"
		 : t.avx2	 ? "AVX2, 8 lanes"
				 : "4 lanes",
		 tree, sizeof(tree));
	snprintf(out, CRYPTO_BACKEND_TEXT_SIZE, "AES-256-GCM: %s; SHA-256 trees: %s", gcm, tree);
}
