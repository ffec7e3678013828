/*
 * Binding of TLS keys. Job: from a certificate to the text in a document. The certificate is
 * public; its issuer does not matter.
 */
#include "tools/evidence/bind_key.h"

#include "attest/certificate.h"
#include "crypto/base/encode.h"
#include "crypto/base/fileio.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

void bind_text(const uint8_t key[32], char out[BIND_TEXT_SIZE])
{
	memcpy(out, BIND_PREFIX, sizeof(BIND_PREFIX));
	hex_encode(key, 32, out + sizeof(BIND_PREFIX) - 1);
}

int bind_key_read(const char *path, uint8_t out[32], struct error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	_cleanup_free_ char *text = malloc(CERTIFICATE_PEM_MAX + 1);
	ssize_t n;
	int r;

	if (!text)
		return -ENOMEM;
	n = fd < 0 ? -errno : file_read(fd, text, CERTIFICATE_PEM_MAX + 1);
	if (n < 0)
		return error_set(err, (int)n, "cannot read %s: %s", path, strerror((int)-n));
	r = certificate_key_hash(text, (size_t)n, out, err);
	return r < 0 ? error_prefix(err, r, "%s", path) : 0;
}
