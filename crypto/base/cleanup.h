/*
 * cleanup.h: scope-bound ownership.
 *
 * A local that owns something is declared with _cleanup_(fn) and initialised at once;
 * ownership leaves the scope through steal_ptr()/steal_fd(). Destructors take NULL.
 */
#ifndef SEALEDFS_BASE_CLEANUP_H
#define SEALEDFS_BASE_CLEANUP_H

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(fn) __attribute__((cleanup(fn)))
#define _printf_(fmt, args) __attribute__((format(printf, fmt, args)))
#define _unused_ __attribute__((unused))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* Defines fnp(T *p), which calls fn(*p): what a cleanup attribute needs. */
#define DEFINE_CLEANUP(type, fn)                   \
	static inline _unused_ void fn##p(type *p) \
	{                                          \
		if (*p)                            \
			fn(*p);                    \
	}

#define steal_ptr(p)                   \
	({                             \
		__auto_type _p = &(p); \
		__auto_type _v = *_p;  \
		*_p = NULL;            \
		_v;                    \
	})

static inline int steal_fd(int *fd)
{
	int v = *fd;

	*fd = -1;
	return v;
}

static inline void freep(void *p)
{
	free(*(void **)p);
}

static inline void closep(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

DEFINE_CLEANUP(FILE *, fclose)
DEFINE_CLEANUP(DIR *, closedir)

#define _cleanup_free_ _cleanup_(freep)
#define _cleanup_close_ _cleanup_(closep)
#define _cleanup_fclose_ _cleanup_(fclosep)
#define _cleanup_closedir_ _cleanup_(closedirp)

#endif
