/* A datagram socket that says what it was told. Never waits: a datagram is there once it was sent.
 */
#include "tests/unit/fs/service/listener.h"

#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int listener_new(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char name[sizeof(address.sun_path)];
	socklen_t size;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	if (path)
		(void)snprintf(name, sizeof(name), "%s", path);
	else
		(void)snprintf(name, sizeof(name), "@sealedfs-test-%d", (int)getpid());
	size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
	memcpy(address.sun_path, name, strlen(name));
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, size), 0);
	assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
	return fd;
}

void listener_next(int fd, char *text, size_t size)
{
	ssize_t n = recv(fd, text, size - 1, MSG_DONTWAIT);

	text[n > 0 ? n : 0] = '\0';
}
