/*
 * Evidence from files. Job: bytes, bounded before they are read, in the form that they have. Trusts
 * nothing in them.
 */
#include "tools/verify/verify_input.h"

#include "crypto/base/encode.h"
#include "crypto/base/fileio.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

bool document_begins(const uint8_t *data, size_t size)
{
	return size > 0 && (data[0] == 0x84 || data[0] == 0xD2);
}

uint8_t *document_from_base64(const uint8_t *text, size_t size, size_t *ret_size)
{
	_cleanup_free_ char *packed = malloc(size + 1);
	_cleanup_free_ uint8_t *data = NULL;
	size_t n = 0;

	for (size_t i = 0; packed && i < size; i++)
		if (!isspace(text[i]))
			packed[n++] = (char)text[i];
	if (!packed)
		return NULL;
	packed[n] = '\0';
	if (strlen(packed) != n || base64_decode(packed, DOCUMENT_SIZE_MAX, &data, ret_size) < 0 ||
	    !document_begins(data, *ret_size))
		return NULL;
	return steal_ptr(data);
}

/* *ret has at least one byte of room, so it is never NULL. */
static int read_file(const char *path, size_t max, uint8_t **ret, size_t *ret_size,
		     struct error *err)
{
	bool is_stdin = strcmp(path, "-") == 0;
	_cleanup_close_ int opened = is_stdin ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int fd = is_stdin ? STDIN_FILENO : opened;
	_cleanup_free_ uint8_t *bytes = calloc(1, max + 1);
	ssize_t n = fd < 0 ? -errno : bytes ? file_read(fd, bytes, max + 1) : -ENOMEM;

	if (n < 0)
		return error_set(err, (int)n, "cannot read %s: %s", path, strerror((int)-n));
	if ((size_t)n > max)
		return error_set(err, -EFBIG, "%s has more than %zu bytes", path, max);
	*ret = steal_ptr(bytes);
	*ret_size = (size_t)n;
	return 0;
}

int verify_read_evidence(const char *path, struct presented *ret, struct error *err)
{
	_cleanup_free_ uint8_t *bytes = NULL, *decoded = NULL;
	size_t size = 0, blank = 0, decoded_size = 0;
	int r = read_file(path, PRESENTED_SIZE_MAX, &bytes, &size, err);

	if (r < 0)
		return r;
	while (blank < size && isspace(bytes[blank]))
		blank++;
	if (blank < size && bytes[blank] == '{') {
		r = presented_parse(bytes, size, ret, err);
		return r < 0 ? error_prefix(err, r, "%s", path) : 0;
	}
	if (!document_begins(bytes, size) && size <= 2 * (size_t)DOCUMENT_SIZE_MAX)
		decoded = document_from_base64(bytes, size, &decoded_size);
	/* Anything else is judged by the verdict. */
	return decoded ? presented_document(decoded, decoded_size, ret, err)
		       : presented_document(bytes, size, ret, err);
}

static int read_log(const char *path, uint8_t **owned, struct bytes_view *ret, struct error *err)
{
	size_t size = 0;
	int r = path ? read_file(path, VERDICT_LOG_MAX, owned, &size, err) : 0;

	if (r == 0 && path)
		*ret = (struct bytes_view){*owned, size};
	return r;
}

int verify_read_logs(const char *event_log, const char *systemd_log, struct presented *p,
		     struct error *err)
{
	int r;

	if ((event_log || systemd_log) && p->event_log.data)
		return error_set(err, -EINVAL, "the evidence has its logs with it: give no others");
	r = read_log(event_log, &p->owned[1], &p->event_log, err);
	return r < 0 ? r : read_log(systemd_log, &p->owned[2], &p->systemd_log, err);
}
