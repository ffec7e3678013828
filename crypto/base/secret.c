/*
 * Secrets. Job: give key bytes an owner and a size. Trusts locked.c to keep them out of swap, cores
 * and other processes' reach, and to wipe them. Must never copy a secret to ordinary heap memory.
 */
#include "crypto/base/secret.h"

#include "crypto/base/locked.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

struct secret {
	size_t size;
	uint8_t *bytes; /* locked memory */
};

int secret_new(size_t size, struct secret **ret)
{
	_cleanup_free_ struct secret *s = NULL;

	if (size == 0 || size > SECRET_SIZE_MAX)
		return -EINVAL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->size = size;
	s->bytes = locked_alloc(size);
	if (!s->bytes)
		return -ENOMEM;
	*ret = steal_ptr(s);
	return 0;
}

int secret_new_from(const void *data, size_t size, struct secret **ret)
{
	struct secret *s = NULL;
	int r = secret_new(size, &s);

	if (r < 0)
		return r;
	memcpy(s->bytes, data, size);
	*ret = s;
	return 0;
}

int secret_new_random(size_t size, struct secret **ret)
{
	_cleanup_secret_ struct secret *s = NULL;
	int r = secret_new(size, &s);

	if (r < 0)
		return r;
	if (RAND_priv_bytes(s->bytes, (int)size) != 1)
		return -EIO;
	*ret = steal_ptr(s);
	return 0;
}

void secret_free(struct secret *s)
{
	if (!s)
		return;
	locked_free(s->bytes);
	free(s);
}

uint8_t *secret_bytes(struct secret *s)
{
	return s->bytes;
}

const uint8_t *secret_data(const struct secret *s)
{
	return s->bytes;
}

size_t secret_size(const struct secret *s)
{
	return s->size;
}

bool secret_equal(const void *a, const void *b, size_t size)
{
	return CRYPTO_memcmp(a, b, size) == 0;
}

void wipe(void *p, size_t size)
{
	if (p)
		OPENSSL_cleanse(p, size);
}

int process_protect_secrets(void)
{
	struct rlimit none = {0, 0};

	locked_raise_limit();
	if (setrlimit(RLIMIT_CORE, &none) < 0)
		return -errno;
	if (prctl(PR_SET_DUMPABLE, 0) < 0)
		return -errno;
	return locked_for_openssl();
}
