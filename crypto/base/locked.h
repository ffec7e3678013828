/*
 * locked.h: memory for secrets: never in swap, in a core file or in a child process, and wiped when
 * it is freed.
 *
 * Small and large blocks come from pages of memfd_secret(2) where the kernel has it, which no other
 * process can read, not even by ptrace; else from mlock()ed pages. If the limit on locked memory
 * (RLIMIT_MEMLOCK) forbids both, the pages are not locked, and one warning in the log says what to
 * do. The other properties hold in any case.
 *
 * A child process does not have this memory at all (MADV_DONTFORK): fork before the first use, or
 * only to exec. Threads: any.
 */
#ifndef SEALEDFS_BASE_LOCKED_H
#define SEALEDFS_BASE_LOCKED_H

#include <stdbool.h>
#include <stddef.h>

/* Zero-filled; from 64 bytes on aligned to 64, below to 16. NULL: no memory, or size is 0. */
void *locked_alloc(size_t size);
/* As realloc(); the old block is wiped. */
void *locked_resize(void *p, size_t size);
/* Wipes. NULL is allowed. */
void locked_free(void *p);

/*
 * Everything that OpenSSL allocates in this process from now on is locked memory: key schedules,
 * states of digests, big numbers, private keys, TLS. Call it before OpenSSL is used. -EALREADY:
 * OpenSSL has allocated already. A sanitizer build leaves OpenSSL to the sanitizer's allocator.
 */
int locked_for_openssl(void);
/*
 * In the process that will use OpenSSL, before it does: there is memory to begin with. -ENOMEM.
 * Without, OpenSSL 3.5 does not fail but waits for itself: it reports the error, and begins for
 * that.
 */
int locked_begin(void);

/*
 * Pages for plaintext: zero-filled, taken and locked when each is first touched, not in cores or
 * child processes. munmap() frees them. NULL: no memory. *ret_locked (may be NULL), false: the
 * limit forbids locking; the rest holds.
 */
void *locked_map(size_t size, bool *ret_locked);
/* Memory of whole pages of locked_map() goes back to the kernel; the range stays as it is, and
 * reads as zeros. */
void locked_give_back(void *p, size_t size);
/*
 * Address space that later calls of locked_map() get their pages from, locked now: for a process
 * that is about to give up the privilege to lock more than the limit. Call it once. Nothing
 * happens where it cannot be locked.
 */
void locked_reserve(size_t size);

/* Raises the soft limit to the hard one; with the privilege, removes both. */
void locked_raise_limit(void);
/* RLIMIT_MEMLOCK in bytes; SIZE_MAX: none. */
size_t locked_limit(void);

#endif
