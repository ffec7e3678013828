/*
 * Token files. Job: read one within its limit. Must never wait for a FIFO, take a token that any
 * user could have put there, or free the text without wiping it.
 */
#include "fs/aws/token_file.h"

#include "crypto/base/fileio.h"
#include "fs/net/text.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static int check(int fd, const char *path, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return error_set(err, -EINVAL, "cannot read %s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return error_set(err, -EINVAL, "%s is not a regular file", path);
	if (st.st_mode & S_IWOTH) {
		error_hint(err, "chmod o-w %s", path);
		return error_set(err, -EINVAL, "every user may write to %s", path);
	}
	return 0;
}

int token_file_read(const char *path, size_t max, char **ret, struct error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	_cleanup_(text_wipe_freep) char *text = NULL;
	ssize_t n;
	int r;

	if (fd < 0 && errno == ENOENT)
		return -ENOENT;
	if (fd < 0)
		return error_set(err, -EINVAL, "cannot read %s: %s", path, strerror(errno));
	r = check(fd, path, err);
	if (r < 0)
		return r;
	/* Zero-filled, so that all that was read is wiped as text. */
	text = calloc(1, max + 3);
	if (!text)
		return error_set(err, -ENOMEM, "%s: out of memory", path);
	n = file_read(fd, text, max + 2);
	if (n < 0)
		return error_set(err, -EINVAL, "cannot read %s: %s", path, strerror((int)-n));
	if (memchr(text, '\0', (size_t)n))
		return error_set(err, -EINVAL, "%s contains a NUL", path);
	while (n > 0 && isspace((unsigned char)text[n - 1]))
		text[--n] = '\0';
	if (n == 0 || (size_t)n > max)
		return error_set(err, -EAGAIN, "%s is empty, or larger than %zu bytes", path, max);
	*ret = steal_ptr(text);
	return 0;
}
