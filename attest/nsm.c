/*
 * The Nitro Secure Module's transport. Job: one message there and one back. Trusts the kernel, or
 * whoever the configuration names as the module. Must never take a longer answer than it has room
 * for.
 */
#include "attest/nsm.h"

#include "attest/nsm_cbor.h"
#include "crypto/base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/rand.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#define NSM_PREFIX "nsm"
#define NSM_DEVICE "/dev/nsm"
#define NSM_UNIX "unix:"
#define TIMEOUT_S 120 /* the kernel's own */
#define SEED_BYTES 64

/* linux/nsm.h, which Debian 12 does not have: pointers as 64-bit numbers. */
struct nsm_raw {
	uint64_t request, request_size, response, response_size;
};
#define NSM_IOCTL_RAW _IOWR(0x0A, 0x0, struct nsm_raw)

bool nsm_is_conf(const char *conf)
{
	size_t n = strlen(NSM_PREFIX);

	return conf && strncmp(conf, NSM_PREFIX, n) == 0 && (conf[n] == '\0' || conf[n] == ':');
}

const char *nsm_path(const char *conf)
{
	const char *path = conf + strlen(NSM_PREFIX);

	if (path[0] == '\0' || path[1] == '\0')
		return NSM_DEVICE;
	path++;
	return strncmp(path, NSM_UNIX, strlen(NSM_UNIX)) == 0 ? path + strlen(NSM_UNIX) : path;
}

static bool is_socket(const char *conf)
{
	const char *place = conf + strlen(NSM_PREFIX);

	return place[0] == ':' && strncmp(place + 1, NSM_UNIX, strlen(NSM_UNIX)) == 0;
}

static int open_socket(const char *path)
{
	const struct timeval patience = {.tv_sec = TIMEOUT_S};
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = -1;

	if (strlen(path) >= sizeof(to.sun_path))
		return -ENAMETOOLONG;
	memcpy(to.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0)
		return -errno;
	return steal_fd(&fd);
}

static int open_module(const char *conf, struct error *err)
{
	const char *path = nsm_path(conf);
	int fd;

	if (is_socket(conf)) {
		fd = open_socket(path);
	} else {
		fd = open(path, O_RDWR | O_CLOEXEC);
		fd = fd < 0 ? -errno : fd;
	}
	if (fd >= 0)
		return fd;
	if (fd == -EACCES || fd == -EPERM)
		return error_set(err, fd, "the Nitro Secure Module at %s may not be opened: %s",
				 path, strerror(-fd));
	error_hint(err, "it exists in a Nitro Enclave whose kernel has the driver nsm");
	return error_set(err, -ENODEV, "there is no Nitro Secure Module at %s: %s", path,
			 strerror(-fd));
}

/* Bytes of the response, or negative errno. */
static ssize_t by_socket(int fd, const uint8_t *request, size_t size,
			 uint8_t response[NSM_RESPONSE_MAX])
{
	struct iovec room = {response, NSM_RESPONSE_MAX};
	struct msghdr m = {.msg_iov = &room, .msg_iovlen = 1};
	ssize_t n = send(fd, request, size, MSG_NOSIGNAL);

	if (n == (ssize_t)size)
		n = recvmsg(fd, &m, 0);
	if (n < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	return n == 0 || (m.msg_flags & MSG_TRUNC) ? -EPROTO : n;
}

static ssize_t by_device(int fd, const uint8_t *request, size_t size,
			 uint8_t response[NSM_RESPONSE_MAX])
{
	struct nsm_raw raw = {.request = (uintptr_t)request,
			      .request_size = size,
			      .response = (uintptr_t)response,
			      .response_size = NSM_RESPONSE_MAX};

	if (ioctl(fd, NSM_IOCTL_RAW, &raw) < 0)
		return -errno;
	return raw.response_size == 0 || raw.response_size > NSM_RESPONSE_MAX
		       ? -EPROTO
		       : (ssize_t)raw.response_size;
}

int nsm_exchange(const char *conf, const uint8_t *request, size_t size,
		 uint8_t response[NSM_RESPONSE_MAX], size_t *ret_size, struct error *err)
{
	_cleanup_close_ int fd = open_module(conf, err);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = is_socket(conf) ? by_socket(fd, request, size, response)
			    : by_device(fd, request, size, response);
	if (n < 0)
		return error_set(err, (int)n, "the Nitro Secure Module at %s does not answer: %s",
				 nsm_path(conf), strerror((int)-n));
	*ret_size = (size_t)n;
	return 0;
}

static int call(const char *conf, const struct nsm_call *c, uint8_t response[NSM_RESPONSE_MAX],
		struct nsm_answer *ret, struct error *err)
{
	uint8_t request[NSM_REQUEST_MAX];
	size_t size = 0;
	int r = nsm_encode_call(c, request, &size, err);

	if (r == 0)
		r = nsm_exchange(conf, request, size, response, &size, err);
	return r < 0 ? r : nsm_decode_answer(response, size, c->name, ret, err);
}

int nsm_pcr_read(const char *conf, unsigned pcr, uint8_t value[NSM_PCR_SIZE], bool *ret_locked,
		 struct error *err)
{
	const struct nsm_call c = {.name = "DescribePCR", .has_index = true, .index = pcr};
	uint8_t response[NSM_RESPONSE_MAX];
	struct nsm_answer a;
	int r;

	if (pcr >= NSM_PCR_COUNT)
		return error_set(err, -EINVAL, "there is no PCR %u", pcr);
	r = call(conf, &c, response, &a, err);
	if (r < 0)
		return r;
	if (a.data.size != NSM_PCR_SIZE || !a.has_lock)
		return error_set(err, -EPROTO,
				 "the Nitro Secure Module's answer is not a SHA-384 PCR");
	memcpy(value, a.data.data, NSM_PCR_SIZE);
	if (ret_locked)
		*ret_locked = a.lock;
	return 0;
}

int nsm_pcr_extend(const char *conf, unsigned pcr, const uint8_t digest[NSM_PCR_SIZE],
		   struct error *err)
{
	const struct nsm_call c = {.name = "ExtendPCR",
				   .has_index = true,
				   .index = pcr,
				   .data = digest,
				   .data_size = NSM_PCR_SIZE};
	uint8_t response[NSM_RESPONSE_MAX];
	struct nsm_answer a;
	int r = call(conf, &c, response, &a, err);

	if (r == -EKEYREJECTED)
		error_hint(err, "it was locked after an earlier measurement (lock-pcr); start the "
				"enclave again to measure something else");
	return r;
}

int nsm_pcr_lock(const char *conf, unsigned pcr, struct error *err)
{
	const struct nsm_call c = {.name = "LockPCR", .has_index = true, .index = pcr};
	uint8_t response[NSM_RESPONSE_MAX], value[NSM_PCR_SIZE];
	struct nsm_answer a;
	bool locked = false;
	int r = nsm_pcr_read(conf, pcr, value, &locked, err);

	if (r < 0 || locked)
		return r;
	r = call(conf, &c, response, &a, err);
	if (r == 0)
		r = nsm_pcr_read(conf, pcr, value, &locked, err);
	return r == 0 && !locked ? error_set(err, -EIO, "PCR %u is not locked afterwards", pcr) : r;
}

int nsm_seed(const char *conf, struct error *err)
{
	const struct nsm_call c = {.name = "GetRandom"};
	uint8_t response[NSM_RESPONSE_MAX];
	struct nsm_answer a;
	int r = call(conf, &c, response, &a, err);

	if (r == 0 && a.data.size < SEED_BYTES)
		r = error_set(err, -EPROTO, "the Nitro Secure Module gives %zu random bytes",
			      a.data.size);
	if (r == 0)
		RAND_add(a.data.data, (int)a.data.size, 0);
	wipe(response, sizeof(response));
	return r;
}
