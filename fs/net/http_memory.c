/*
 * libcurl's memory. Job: wipe it before it is freed, for a thread that asked for that: libcurl
 * cannot be told to wipe its buffers, so its allocator is replaced. OpenSSL's record buffers and
 * the kernel's buffers stay out of reach.
 */
#include "crypto/base/secret.h"
#include "fs/net/http_internal.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <string.h>

static _Thread_local bool wiping;

void http_wipe_on_free(bool on)
{
	wiping = on;
}

static void curl_free_wiped(void *p)
{
	if (wiping && p)
		wipe(p, malloc_usable_size(p));
	free(p);
}

static void *curl_realloc_wiped(void *p, size_t size)
{
	size_t old = p ? malloc_usable_size(p) : 0;
	void *bigger;

	if (!wiping)
		return realloc(p, size);
	bigger = malloc(size);
	if (!bigger)
		return NULL;
	if (p)
		memcpy(bigger, p, MIN(old, size));
	curl_free_wiped(p);
	return bigger;
}

static CURLcode global_result = CURLE_FAILED_INIT;

static void global_init_once(void)
{
	global_result = curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, curl_free_wiped,
					     curl_realloc_wiped, strdup, calloc);
}

int http_global_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, global_init_once);
	return global_result == CURLE_OK ? 0 : -EIO;
}
