/*
 * listener.h: the service manager's end of $NOTIFY_SOCKET, for tests.
 */
#ifndef SEALEDFS_TEST_LISTENER_H
#define SEALEDFS_TEST_LISTENER_H

#include <stddef.h>

/* Binds an abstract socket, or one at path, and sets NOTIFY_SOCKET. Fails the test, or a descriptor
 * for listener_next() that the caller closes. */
int listener_new(const char *path);
/* The next datagram as a string; "" where there is none. */
void listener_next(int fd, char *text, size_t size);

#endif
