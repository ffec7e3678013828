/*
 * Message digests over OpenSSL's EVP. Job: a small typed door, so that no other file needs to
 * know EVP. Trusts OpenSSL. Must never report success without having written the digest.
 */
#include "crypto/base/digest.h"

#include <errno.h>
#include <openssl/evp.h>

struct digest {
	EVP_MD_CTX *ctx;
};

static const EVP_MD *evp_md(enum digest_alg alg)
{
	switch (alg) {
	case DIGEST_SHA1:
		return EVP_sha1();
	case DIGEST_SHA256:
		return EVP_sha256();
	case DIGEST_SHA384:
		return EVP_sha384();
	case DIGEST_SHA512:
		return EVP_sha512();
	}
	return NULL;
}

int digest_new(enum digest_alg alg, struct digest **ret)
{
	_cleanup_digest_ struct digest *d = NULL;
	const EVP_MD *md = evp_md(alg);

	if (!md)
		return -ENOTSUP;
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->ctx = EVP_MD_CTX_new();
	if (!d->ctx)
		return -ENOMEM;
	if (EVP_DigestInit_ex2(d->ctx, md, NULL) != 1)
		return -EIO;
	*ret = steal_ptr(d);
	return 0;
}

int digest_update(struct digest *d, const void *data, size_t size)
{
	return EVP_DigestUpdate(d->ctx, data, size) == 1 ? 0 : -EIO;
}

int digest_final(struct digest *d, uint8_t *out)
{
	return EVP_DigestFinal_ex(d->ctx, out, NULL) == 1 ? 0 : -EIO;
}

int digest_reset(struct digest *d)
{
	return EVP_DigestInit_ex2(d->ctx, NULL, NULL) == 1 ? 0 : -EIO;
}

void digest_free(struct digest *d)
{
	if (!d)
		return;
	EVP_MD_CTX_free(d->ctx);
	free(d);
}

size_t digest_size(enum digest_alg alg)
{
	switch (alg) {
	case DIGEST_SHA1:
		return 20;
	case DIGEST_SHA256:
		return 32;
	case DIGEST_SHA384:
		return 48;
	case DIGEST_SHA512:
		return 64;
	}
	return 0;
}

const char *digest_name(enum digest_alg alg)
{
	switch (alg) {
	case DIGEST_SHA1:
		return "sha1";
	case DIGEST_SHA256:
		return "sha256";
	case DIGEST_SHA384:
		return "sha384";
	case DIGEST_SHA512:
		return "sha512";
	}
	return NULL;
}

int digest_buffer(enum digest_alg alg, const void *data, size_t size, uint8_t *out)
{
	const EVP_MD *md = evp_md(alg);

	if (!md)
		return -ENOTSUP;
	return EVP_Digest(data, size, out, NULL, md, NULL) == 1 ? 0 : -EIO;
}
