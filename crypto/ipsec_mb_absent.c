/*
 * A build without Intel's multi-buffer crypto library. Job: report that, and refuse. Only
 * ipsec_mb_traits() may be called.
 */
#include "crypto/ipsec_mb.h"

#include <errno.h>
#include <string.h>

bool ipsec_mb_traits(struct ipsec_mb_traits *ret)
{
	*ret = (struct ipsec_mb_traits){0};
	return false;
}

int ipsec_mb_key_new(const uint8_t key[32], struct ipsec_mb_key **ret)
{
	return -ENOTSUP;
}

void ipsec_mb_key_free(struct ipsec_mb_key *k)
{
}

/* Nobody has a key to call these with. */
void ipsec_mb_gcm_begin(const struct ipsec_mb_key *k, struct ipsec_mb_gcm *g,
			const uint8_t nonce[12], const uint8_t *aad, size_t aad_size)
{
	abort();
}

void ipsec_mb_gcm_update(const struct ipsec_mb_key *k, struct ipsec_mb_gcm *g, const uint8_t *in,
			 size_t size, uint8_t *out, bool encrypt)
{
	abort();
}

void ipsec_mb_gcm_end(const struct ipsec_mb_key *k, struct ipsec_mb_gcm *g, bool encrypt,
		      uint8_t tag[16])
{
	abort();
}

int ipsec_mb_sha256_blocks(const uint8_t *data, size_t block_size, size_t count, uint8_t *out)
{
	return -ENOTSUP;
}
