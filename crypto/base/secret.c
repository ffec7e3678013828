/*
 * Secret memory. Job: keep key bytes out of swap, cores and other processes' reach, and wipe
 * them. Trusts the kernel and OPENSSL_cleanse. Must never copy a secret to ordinary heap memory.
 */
#include "crypto/base/secret.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif

struct secret {
	size_t size;
	size_t mapped;
	uint8_t *bytes;
};

static uint8_t *map_secret_pages(size_t mapped)
{
	uint8_t *p = MAP_FAILED;
	int fd = (int)syscall(SYS_memfd_secret, 0);

	if (fd >= 0) {
		if (ftruncate(fd, (off_t)mapped) == 0)
			p = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		close(fd);
		if (p != MAP_FAILED)
			return p;
	}
	p = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	/* Without CAP_IPC_LOCK the limit may be tiny; unlocked is then still better than no mount.
	 */
	(void)mlock(p, mapped);
	(void)madvise(p, mapped, MADV_DONTDUMP);
	return p;
}

int secret_new(size_t size, struct secret **ret)
{
	long page = sysconf(_SC_PAGESIZE);
	_cleanup_free_ struct secret *s = NULL;

	if (size == 0 || size > SECRET_SIZE_MAX || page <= 0)
		return -EINVAL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->size = size;
	s->mapped = (size + (size_t)page - 1) / (size_t)page * (size_t)page;
	s->bytes = map_secret_pages(s->mapped);
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
	OPENSSL_cleanse(s->bytes, s->mapped);
	munmap(s->bytes, s->mapped);
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

	if (setrlimit(RLIMIT_CORE, &none) < 0)
		return -errno;
	if (prctl(PR_SET_DUMPABLE, 0) < 0)
		return -errno;
	return 0;
}
