/*
 * The encrypted spool. Job: let a pipe be read twice without its plaintext touching a disk. Trusts
 * crypto/aead; does not trust the file it writes (every chunk is authenticated with its place).
 * Must never write plaintext, and never reuse its key: one key, one spool, one counter.
 */
#include "tools/common/spool.h"

#include "crypto/aead.h"
#include "crypto/base/cursor.h"
#include "crypto/base/fileio.h"
#include "crypto/base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* A record is a chunk's ciphertext and its tag; all but the last are whole. */
#define RECORD_SIZE ((uint64_t)SEAL_CHUNK_SIZE + AEAD_TAG_SIZE)

struct spool {
	int fd;
	struct aead *aead;
	char *folder;
	uint64_t length;
};

static int open_nameless(const char *folder)
{
	_cleanup_free_ char *path = NULL;
	int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0)
		return fd;
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
		return -errno;
	if (asprintf(&path, "%s/sealctl-XXXXXX", folder) < 0)
		return -ENOMEM;
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	(void)unlink(path);
	return fd;
}

int spool_new(struct spool **ret, struct error *err)
{
	const char *folder = getenv("TMPDIR");
	_cleanup_secret_ struct secret *key = NULL;
	struct spool *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->fd = -1;
	s->folder = strdup(folder && folder[0] ? folder : "/var/tmp");
	r = s->folder ? secret_new_random(AEAD_KEY_SIZE, &key) : -ENOMEM;
	if (r == 0)
		r = aead_new(secret_data(key), &s->aead);
	if (r == 0) {
		s->fd = open_nameless(s->folder);
		r = MIN(s->fd, 0);
	}
	if (r < 0) {
		error_set(err, r, "cannot make a temporary file in %s: %s",
			  s->folder ? s->folder : "?", strerror(-r));
		error_hint(err, "set TMPDIR, or give the pipe's --length");
		spool_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void spool_free(struct spool *s)
{
	if (!s)
		return;
	closep(&s->fd);
	aead_free(s->aead);
	free(s->folder);
	free(s);
}

/* A shortened file counts as changed. */
static int read_back(int fd, uint8_t *data, size_t size, uint64_t offset)
{
	ssize_t n = file_read_at(fd, data, size, offset);

	if (n < 0)
		return (int)n;
	return (size_t)n == size ? 0 : -EBADMSG;
}

/* The chunk's number is its nonce, so a chunk is good in one place only. */
static struct aead_input describe(uint64_t index, uint8_t nonce[AEAD_NONCE_SIZE],
				  const uint8_t *text, size_t size)
{
	memset(nonce, 0, AEAD_NONCE_SIZE);
	put_be64(nonce + 4, index);
	return (struct aead_input){.nonce = nonce, .text = text, .text_size = size};
}

int spool_append(struct spool *s, uint8_t *data, size_t size, struct error *err)
{
	uint8_t nonce[AEAD_NONCE_SIZE], tag[AEAD_TAG_SIZE];
	uint64_t index = s->length / SEAL_CHUNK_SIZE, at = index * RECORD_SIZE;
	struct aead_input in = describe(index, nonce, data, size);
	int r;

	if (size == 0 || size > SEAL_CHUNK_SIZE || s->length % SEAL_CHUNK_SIZE != 0)
		return -EINVAL;
	r = aead_seal(s->aead, &in, data, tag);
	if (r == 0)
		r = file_write_at(s->fd, data, size, at);
	if (r == 0)
		r = file_write_at(s->fd, tag, sizeof(tag), at + size);
	if (r < 0) {
		error_set(err, r, "cannot spool the pipe to %s: %s", s->folder, strerror(-r));
		error_hint(err, "set TMPDIR to a folder with more room, or give the pipe's "
				"--length");
		return r;
	}
	s->length += size;
	return 0;
}

uint64_t spool_length(const struct spool *s)
{
	return s->length;
}

int spool_read(struct spool *s, uint64_t chunk_index, uint8_t *data, size_t *ret_size,
	       struct error *err)
{
	uint8_t nonce[AEAD_NONCE_SIZE], tag[AEAD_TAG_SIZE];
	uint64_t at = chunk_index * RECORD_SIZE, start = chunk_index * SEAL_CHUNK_SIZE;
	struct aead_input in;
	size_t size;
	int r;

	if (start >= s->length) {
		*ret_size = 0;
		return 0;
	}
	size = (size_t)MIN(s->length - start, (uint64_t)SEAL_CHUNK_SIZE);
	r = read_back(s->fd, data, size, at);
	if (r == 0)
		r = read_back(s->fd, tag, sizeof(tag), at + size);
	if (r == 0) {
		in = describe(chunk_index, nonce, data, size);
		r = aead_open(s->aead, &in, tag, data);
	}
	if (r < 0)
		return error_set(err, r,
				 "the temporary file in %s did not keep the pipe's data: %s",
				 s->folder, strerror(-r));
	*ret_size = size;
	return 0;
}
