/*
 * backend.h: chooses the library for bulk work: OpenSSL, or Intel's multi-buffer library
 * (libipsec-mb) if it is built in, runs on this CPU and is faster. Two jobs are decided separately:
 * AES-256-GCM, and the SHA-256 of many 4 KiB blocks (fs-verity trees). Digests of one stream are
 * always OpenSSL's. Results are the same bytes either way.
 *
 * Threads: choose at program start, before there are ciphers. A cipher keeps the library it was
 * made with. The other functions: any thread.
 */
#ifndef SEALEDFS_BACKEND_H
#define SEALEDFS_BACKEND_H

#include "crypto/base/error.h"

#include <stdbool.h>

enum crypto_choice {
	CRYPTO_AUTO,	/* the faster library here; the same as no choice */
	CRYPTO_OPENSSL, /* OpenSSL for everything */
	CRYPTO_IPSEC_MB /* libipsec-mb for both jobs, even if OpenSSL is faster */
};

/* "auto", "openssl", "ipsec-mb". -EINVAL. */
int crypto_choice_parse(const char *text, enum crypto_choice *ret);
/* -ENOTSUP, and nothing changed: libipsec-mb was requested and cannot be used here. */
int crypto_backend_choose(enum crypto_choice choice, struct error *err);

bool crypto_gcm_by_ipsec_mb(void);
bool crypto_tree_by_ipsec_mb(void);

/* "AES-256-GCM: ipsec-mb 1.3.0 (AVX512 VAES); SHA-256 trees: OpenSSL 3.0.17", for people. */
#define CRYPTO_BACKEND_TEXT_SIZE 128
void crypto_backend_text(char out[CRYPTO_BACKEND_TEXT_SIZE]);

/* The decision itself, for its tests: what libipsec-mb does, from what it found on the CPU
 * (NULL: it is not there). -ENOTSUP: requested but not usable; *ret_why is the reason. */
struct ipsec_mb_traits;
struct crypto_backends {
	bool gcm_by_ipsec_mb, tree_by_ipsec_mb;
};
int crypto_backend_decide(enum crypto_choice choice, const struct ipsec_mb_traits *traits,
			  struct crypto_backends *ret, const char **ret_why);

#endif
