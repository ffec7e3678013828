/*
 * Copying past the cache. Job: fill complete cache lines with stores that bypass the cache,
 * and the rest by memcpy(). Trusts the caller's sizes. Must never return before its stores are in
 * order with those that follow: the processor itself does not order them.
 */
#include "fs/net/far_copy.h"

#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>

#define LINE_BYTES 64

static void copy_line(uint8_t *to, const uint8_t *from)
{
	__m128i part[LINE_BYTES / sizeof(__m128i)];

	memcpy(part, from, sizeof(part));
	for (size_t i = 0; i < sizeof(part) / sizeof(part[0]); i++)
		_mm_stream_si128((__m128i *)(void *)(to + i * sizeof(part[0])), part[i]);
}

void far_copy(uint8_t *to, const void *from, size_t size)
{
	const uint8_t *at = from;
	size_t head = -(uintptr_t)to % LINE_BYTES;

	if (head > size)
		head = size;
	memcpy(to, at, head);
	for (to += head, at += head, size -= head; size >= LINE_BYTES; size -= LINE_BYTES) {
		copy_line(to, at);
		to += LINE_BYTES;
		at += LINE_BYTES;
	}
	memcpy(to, at, size);
	_mm_sfence();
}
#else
void far_copy(uint8_t *to, const void *from, size_t size)
{
	memcpy(to, from, size);
}
#endif
