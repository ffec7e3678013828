/*
 * no_threads.c: for LD_PRELOAD: pthread_create() fails as under a limit on processes: the
 * FAIL_AT-th call, or the FAIL_FROM-th and all later ones. cases/starting.py compiles it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

static int number(const char *name)
{
	const char *text = getenv(name);

	return text ? atoi(text) : 0;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
		   void *arg)
{
	static atomic_int calls;
	int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
	int call = ++calls, from = number("FAIL_FROM");

	*(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
	if (call == number("FAIL_AT") || (from > 0 && call >= from))
		return EAGAIN;
	return real(thread, attributes, run, arg);
}
