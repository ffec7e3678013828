/*
 * far_copy.h: memcpy() for bytes that are not read soon. They go to memory past the processor's
 * cache, where they would only displace what is in use, and no line is read just to be overwritten.
 *
 * Any alignment and size; the ranges must not overlap. What was copied is seen by every thread that
 * synchronises with this one afterwards, as after memcpy(). Without SSE2 it is memcpy().
 */
#ifndef SEALEDFS_NET_FAR_COPY_H
#define SEALEDFS_NET_FAR_COPY_H

#include <stddef.h>
#include <stdint.h>

void far_copy(uint8_t *to, const void *from, size_t size);

#endif
