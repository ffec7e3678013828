/*
 * The log for others. Job: a copy of the whole file at a moment when no writer is in it. Trusts
 * whoever could write it no more than its reader does: the PCR decides. Must never create it, nor
 * keep a writer waiting for longer than it takes to read it.
 */
#include "attest/event_log.h"

#include "crypto/base/fileio.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define LOCK_WAIT_MS 5000 /* a writer waits for its TPM */

int event_log_copy(const char *path, uint8_t **ret, size_t *ret_size, struct error *err)
{
	_cleanup_close_ int fd =
		open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
	int r = fd < 0 ? -errno : file_lock(fd, true, LOCK_WAIT_MS);

	if (r == 0)
		r = file_load(fd, EVENT_LOG_SIZE_MAX, ret, ret_size);
	if (r == -ENOENT)
		return r;
	if (r < 0)
		return error_set(err, r, "cannot read the measurement log %s: %s", path,
				 strerror(-r));
	return 0;
}
