/*
 * Locked memory. Job: hand out blocks of few sizes from locked pages, and wipe them. Trusts the
 * kernel. Must never give a page back to ordinary use, nor hand out a block that is not wiped.
 *
 * One range of addresses is reserved; it is filled with pages from its beginning as they are
 * needed. A page holds blocks of one class, or belongs to a span of whole pages.
 */
#include "crypto/base/locked.h"

#include "crypto/base/cleanup.h"
#include "crypto/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif

/* The unit here; the kernel's page size may differ. */
#define PAGE ((size_t)4096)
#define PAGES_MAX ((size_t)65536)
#define SEGMENT_PAGES ((size_t)64)
/* The part of the limit that is left to keys. */
#define KEYS_SIZE ((size_t)8 << 20)
#define HUGE_PAGE ((size_t)2 << 20)

/* What a page is used for: 0 … CLASSES-1: blocks of that class. */
enum { PAGE_IS_FREE = 0xff, PAGE_BEGINS_SPAN = 0xfe, PAGE_CONTINUES_SPAN = 0xfd };

/* Multiples of 64 above 64, so that every block of a page is aligned so. */
static const uint16_t class_size[] = {16,  32,	48,  64,  128,	192,  256,
				      320, 448, 576, 768, 1024, 1344, 2048};

struct block {
	struct block *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* All guarded by lock. */
static uint8_t *base;
static size_t mapped_pages;
static uint8_t use[PAGES_MAX];
static uint32_t span_pages[PAGES_MAX]; /* where a span begins */
static struct block *idle[ARRAY_LEN(class_size)];
static struct {
	uint8_t *at;
	size_t size;
} reserve; /* what is left of it */

static atomic_bool warned;

static void warn_once(void)
{
	if (!atomic_exchange(&warned, true))
		log_warning("keys may reach swap: not more than %zu bytes of memory may be locked; "
			    "raise LimitMEMLOCK= of the unit or ulimit -l, or turn swap off",
			    locked_limit());
}

/* True: the pages are at `at` and locked. */
static bool map_secret(void *at, size_t size)
{
	_cleanup_close_ int fd = (int)syscall(SYS_memfd_secret, O_CLOEXEC);

	return fd >= 0 && ftruncate(fd, (off_t)size) == 0 &&
	       mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) != MAP_FAILED;
}

/* 1: mapped, but not locked. */
static int map_segment(uint8_t *at, size_t size)
{
	int r = 0;

	if (!map_secret(at, size)) {
		if (mmap(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
			 -1, 0) == MAP_FAILED)
			return -ENOMEM;
		r = mlock2(at, size, MLOCK_ONFAULT) < 0;
	}
	if (madvise(at, size, MADV_DONTFORK) < 0 || (madvise(at, size, MADV_DONTDUMP) < 0 && r))
		return -ENOMEM;
	return r;
}

/* At least `pages` more, in one piece; 1: not locked. */
static int grow(size_t pages)
{
	size_t more = (pages + SEGMENT_PAGES - 1) / SEGMENT_PAGES * SEGMENT_PAGES;
	int r;

	if (!base) {
		void *p = mmap(NULL, PAGES_MAX * PAGE, PROT_NONE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		if (p == MAP_FAILED)
			return -ENOMEM;
		base = p;
		memset(use, PAGE_IS_FREE, sizeof(use));
	}
	if (more > PAGES_MAX - mapped_pages)
		return -ENOMEM;
	r = map_segment(base + mapped_pages * PAGE, more * PAGE);
	if (r >= 0)
		mapped_pages += more;
	return r;
}

/* The first run of that many free pages; mapped_pages: there is none. */
static size_t find_pages(size_t pages)
{
	size_t run = 0;

	for (size_t i = 0; i < mapped_pages; i++) {
		run = use[i] == PAGE_IS_FREE ? run + 1 : 0;
		if (run == pages)
			return i + 1 - pages;
	}
	return mapped_pages;
}

static void *take_pages(size_t pages, bool *ret_unlocked)
{
	size_t at = find_pages(pages);

	if (at == mapped_pages) {
		int r = grow(pages);

		if (r < 0)
			return NULL;
		*ret_unlocked = r > 0;
		at = find_pages(pages);
	}
	memset(use + at, PAGE_CONTINUES_SPAN, pages);
	use[at] = PAGE_BEGINS_SPAN;
	span_pages[at] = (uint32_t)pages;
	return base + at * PAGE;
}

static size_t class_of(size_t size)
{
	size_t k = 0;

	while (k < ARRAY_LEN(class_size) && class_size[k] < size)
		k++;
	return k;
}

static void *take_block(size_t k, bool *ret_unlocked)
{
	struct block *b = idle[k];

	if (!b) {
		uint8_t *page = take_pages(1, ret_unlocked);
		size_t n = PAGE / class_size[k];

		if (!page)
			return NULL;
		use[(size_t)(page - base) / PAGE] = (uint8_t)k;
		while (n-- > 0) {
			b = (struct block *)(void *)(page + n * class_size[k]);
			b->next = idle[k];
			idle[k] = b;
		}
	}
	idle[k] = b->next;
	b->next = NULL;
	return b;
}

void *locked_alloc(size_t size)
{
	size_t k = class_of(size);
	bool unlocked = false;
	void *p = NULL;

	if (size == 0 || size > PAGES_MAX * PAGE)
		return NULL;
	pthread_mutex_lock(&lock);
	p = k < ARRAY_LEN(class_size) ? take_block(k, &unlocked)
				      : take_pages((size + PAGE - 1) / PAGE, &unlocked);
	pthread_mutex_unlock(&lock);
	if (unlocked)
		warn_once();
	return p;
}

/* How much fits into the block. Needs no lock: the entry of a block in use does not change. */
static size_t capacity(const void *p)
{
	size_t page = (size_t)((const uint8_t *)p - base) / PAGE;

	return use[page] == PAGE_BEGINS_SPAN ? span_pages[page] * PAGE : class_size[use[page]];
}

void locked_free(void *p)
{
	size_t page, size;

	if (!p)
		return;
	size = capacity(p);
	OPENSSL_cleanse(p, size);
	pthread_mutex_lock(&lock);
	page = (size_t)((uint8_t *)p - base) / PAGE;
	if (use[page] == PAGE_BEGINS_SPAN) {
		memset(use + page, PAGE_IS_FREE, span_pages[page]);
	} else {
		struct block *b = p;

		b->next = idle[use[page]];
		idle[use[page]] = b;
	}
	pthread_mutex_unlock(&lock);
}

void *locked_resize(void *p, size_t size)
{
	size_t old = p ? capacity(p) : 0;
	void *fresh;

	if (size == 0) {
		locked_free(p);
		return NULL;
	}
	if (size <= old && size >= old / 2)
		return p;
	fresh = locked_alloc(size);
	if (!fresh)
		return NULL;
	if (p)
		memcpy(fresh, p, MIN(old, size));
	locked_free(p);
	return fresh;
}

#ifndef SEALEDFS_SANITIZED
static void *openssl_alloc(size_t size, const char *file, int line)
{
	return locked_alloc(size);
}

static void *openssl_resize(void *p, size_t size, const char *file, int line)
{
	return locked_resize(p, size);
}

static void openssl_free(void *p, const char *file, int line)
{
	locked_free(p);
}

int locked_for_openssl(void)
{
	return CRYPTO_set_mem_functions(openssl_alloc, openssl_resize, openssl_free) == 1
		       ? 0
		       : -EALREADY;
}
#else
int locked_for_openssl(void)
{
	return 0;
}
#endif

int locked_begin(void)
{
	void *p = locked_alloc(1);

	locked_free(p);
	return p ? 0 : -ENOMEM;
}

/* The kernel asks for CAP_IPC_LOCK alone. */
static bool has_no_limit(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

	return syscall(SYS_capget, &header, data) == 0 &&
	       (data[0].effective & (1U << CAP_IPC_LOCK));
}

/* Some of the limit is left to keys. */
static bool lock_pages(void *p, size_t size)
{
	size_t limit = locked_limit();

	if (!has_no_limit() && (limit < KEYS_SIZE || size > limit - KEYS_SIZE))
		return false;
	return mlock2(p, size, MLOCK_ONFAULT) == 0;
}

static void *map_pages(size_t size, bool *ret_locked)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	if (madvise(p, size, MADV_DONTDUMP) < 0 || madvise(p, size, MADV_DONTFORK) < 0) {
		(void)munmap(p, size);
		return NULL;
	}
	*ret_locked = lock_pages(p, size);
	return p;
}

void *locked_map(size_t size, bool *ret_locked)
{
	size_t whole = (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
	bool locked = true;
	void *p = NULL;

	pthread_mutex_lock(&lock);
	if (whole <= reserve.size) {
		p = reserve.at;
		reserve.at += whole;
		reserve.size -= whole;
	}
	pthread_mutex_unlock(&lock);
	if (!p)
		p = map_pages(size, &locked);
	if (p && ret_locked)
		*ret_locked = locked;
	return p;
}

void locked_give_back(void *p, size_t size)
{
	/* Linux 5.18 does it without unlocking; before that the lock may be lost with a privilege
	 * that we have given up, and the bytes go at least. */
	if (madvise(p, size, MADV_DONTNEED_LOCKED) == 0 || madvise(p, size, MADV_DONTNEED) == 0)
		return;
	if (munlock(p, size) < 0 || madvise(p, size, MADV_DONTNEED) < 0)
		OPENSSL_cleanse(p, size);
	(void)mlock2(p, size, MLOCK_ONFAULT);
}

void locked_reserve(size_t size)
{
	/* Each piece may be rounded up, and the beginning too. */
	size_t whole = size + 4 * HUGE_PAGE, skip;
	bool locked = false;
	uint8_t *p = map_pages(whole, &locked);

	if (p && !locked)
		(void)munmap(p, whole);
	if (!p || !locked)
		return;
	skip = (HUGE_PAGE - (uintptr_t)p % HUGE_PAGE) % HUGE_PAGE;
	pthread_mutex_lock(&lock);
	reserve.at = p + skip;
	reserve.size = whole - skip;
	/* Once the privilege is gone there will be no room for keys. */
	if (has_no_limit() && whole + KEYS_SIZE > locked_limit())
		(void)grow(KEYS_SIZE / PAGE);
	pthread_mutex_unlock(&lock);
}

size_t locked_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0)
		return 0;
	return limit.rlim_cur == RLIM_INFINITY ? SIZE_MAX : (size_t)limit.rlim_cur;
}

void locked_raise_limit(void)
{
	struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY}, limit;

	if (setrlimit(RLIMIT_MEMLOCK, &none) == 0 || getrlimit(RLIMIT_MEMLOCK, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_MEMLOCK, &limit);
}
