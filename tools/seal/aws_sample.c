/*
 * What AWS's sample application publishes, read again. Job: the data key from KMS, and the file
 * decrypted as it is downloaded. Does not trust the objects: nothing binds them to each other or
 * to a name, except that the tag fits the data key. Must never write plaintext, nor let anybody
 * take it for good before the tag was checked.
 */
#include "tools/seal/aws_sample.h"

#include "crypto/aead.h"
#include "crypto/base/log.h"
#include "crypto/format.h"
#include "fs/aws/kms.h"
#include "tools/common/target.h"

#include <errno.h>
#include <string.h>

static const struct {
	const char *model, *data_key;
} suffixes[] = {
	{".enc", ".datakey.enc"},
	{".encrypted", ".datakey"},
};

struct aws_sample {
	struct target target;
	struct source_object object;
	struct aead_stream *stream;
	uint8_t *buffer;      /* ciphertext, `room` bytes */
	size_t room, at, end; /* what is left of it: from at to end */
	uint64_t next, last;  /* ciphertext in the object that was not fetched yet */
};

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n > m && strcmp(text + n - m, end) == 0;
}

/* Index into suffixes[], or -EINVAL. */
static int find_suffix(const char *object, struct error *err)
{
	for (size_t i = 0; i < ARRAY_LEN(suffixes); i++)
		if (ends_with(object, suffixes[i].data_key)) {
			error_hint(err, "give the model, which lies beside it");
			return error_set(err, -EINVAL, "%s is the data key of a model", object);
		}
	for (size_t i = 0; i < ARRAY_LEN(suffixes); i++)
		if (ends_with(object, suffixes[i].model))
			return (int)i;
	error_hint(err, "AWS's sample calls models NAME.enc or NAME.encrypted");
	return error_set(err, -EINVAL, "%s is not called like a model of AWS's sample", object);
}

int aws_sample_name(const char *object, char **ret, struct error *err)
{
	const char *slash = strrchr(object, '/'), *name = slash ? slash + 1 : object;
	int which = find_suffix(name, err);

	if (which < 0)
		return which;
	*ret = strndup(name, strlen(name) - strlen(suffixes[which].model));
	return *ret ? 0 : -ENOMEM;
}

static void sample_free(void *ctx)
{
	struct aws_sample *s = ctx;

	if (!s)
		return;
	aead_stream_free(s->stream);
	source_object_clear(&s->object);
	target_clear(&s->target);
	free(s->buffer);
	free(s);
}

DEFINE_CLEANUP(struct aws_sample *, sample_free)

static int fetch(struct aws_sample *s, struct error *err)
{
	size_t size = (size_t)MIN(s->last - s->next, (uint64_t)s->room);
	int r = source_read(s->target.source, s->object.name, s->object.version, s->next, size,
			    s->buffer, err);

	if (r < 0)
		return r;
	s->next += size;
	s->at = 0;
	s->end = size;
	return 0;
}

static int sample_read(void *ctx, uint8_t *buf, size_t size, struct error *err)
{
	struct aws_sample *s = ctx;
	int r = 0;

	while (r == 0 && size > 0) {
		size_t n;

		if (s->at == s->end)
			r = fetch(s, err);
		n = MIN(size, s->end - s->at);
		if (r == 0)
			r = aead_stream_open(s->stream, s->buffer + s->at, n, buf);
		s->at += n;
		buf += n;
		size -= n;
	}
	return r;
}

static int sample_finish(void *ctx, struct error *err)
{
	struct aws_sample *s = ctx;
	uint8_t tag[AEAD_TAG_SIZE];
	int r = source_read(s->target.source, s->object.name, s->object.version, s->last,
			    sizeof(tag), tag, err);

	if (r == 0)
		r = aead_stream_finish(s->stream, tag);
	if (r != -EBADMSG)
		return r;
	error_hint(err, "the object was changed or cut, or its data key is that of another model");
	return error_set(err, r, "%s is not authentic: its tag is wrong; nothing is sealed",
			 s->target.operand);
}

static const struct input_reader reader = {sample_read, sample_finish, sample_free};

static int read_blob(struct aws_sample *s, const char *name, uint8_t blob[KMS_BLOB_MAX],
		     size_t *ret_size, struct error *err)
{
	struct source_object object = {0};
	int r = source_stat(s->target.source, name, &object, err);

	if (r == -ENOENT)
		error_hint(err, "AWS's sample writes it beside each model");
	if (r < 0)
		return r;
	*ret_size = (size_t)object.size;
	if (object.size == 0 || object.size > KMS_BLOB_MAX)
		r = error_set(err, -EPROTO, "%s: a wrapped data key has 1 to %d bytes, not %llu",
			      name, KMS_BLOB_MAX, (unsigned long long)object.size);
	else
		r = source_read(s->target.source, name, object.version, 0, *ret_size, blob, err);
	source_object_clear(&object);
	return r;
}

static int data_key(struct aws_sample *s, struct aws *aws, const char *kms_key, struct secret **ret,
		    struct error *err)
{
	_cleanup_free_ char *name = NULL, *arn = NULL;
	uint8_t blob[KMS_BLOB_MAX];
	size_t size = 0;
	int r = find_suffix(s->target.name, err);

	if (r < 0)
		return r;
	if (asprintf(&name, "%.*s%s", (int)(strlen(s->target.name) - strlen(suffixes[r].model)),
		     s->target.name, suffixes[r].data_key) < 0) {
		name = NULL;
		return -ENOMEM;
	}
	r = read_blob(s, name, blob, &size, err);
	if (r == 0)
		r = kms_decrypt_foreign(aws, kms_key, blob, size, ret, &arn, err);
	if (r == 0 && !kms_key)
		log_notice("%s: the data key was wrapped by %s; --sample-key accepts only one key",
			   s->target.operand, arn);
	return r;
}

/* The nonce, and how much ciphertext there is. */
static int start(struct aws_sample *s, const struct secret *key, struct error *err)
{
	uint8_t nonce[AEAD_NONCE_SIZE];
	uint64_t length;
	int r;

	if (s->object.size < AEAD_NONCE_SIZE + AEAD_TAG_SIZE)
		return error_set(err, -EPROTO,
				 "%s has %llu bytes; a model of AWS's sample has %d "
				 "or more",
				 s->target.operand, (unsigned long long)s->object.size,
				 AEAD_NONCE_SIZE + AEAD_TAG_SIZE);
	length = s->object.size - AEAD_NONCE_SIZE - AEAD_TAG_SIZE;
	if (length > AEAD_STREAM_MAX)
		return error_set(err, -EFBIG,
				 "%s is longer than AES-GCM can encrypt with one nonce",
				 s->target.operand);
	r = source_read(s->target.source, s->object.name, s->object.version, 0, sizeof(nonce),
			nonce, err);
	if (r == 0)
		r = aead_stream_new(secret_data(key), nonce, &s->stream);
	s->next = AEAD_NONCE_SIZE;
	s->last = s->next + length;
	s->room = source_preferred_size(s->target.source);
	s->buffer = malloc(s->room);
	return r == 0 && !s->buffer ? -ENOMEM : r;
}

int aws_sample_open(struct cli *cli, const char *object, const char *kms_key, struct input **ret,
		    struct error *err)
{
	_cleanup_(sample_freep) struct aws_sample *s = calloc(1, sizeof(*s));
	_cleanup_secret_ struct secret *key = NULL;
	struct aws *aws = NULL;
	uint64_t length;
	int r;

	if (!s)
		return -ENOMEM;
	r = cli_aws(cli, &aws, err);
	if (r == 0)
		r = target_open_object(cli, object, &s->target, err);
	if (r == 0)
		r = source_stat(s->target.source, s->target.name, &s->object, err);
	if (r == 0)
		r = data_key(s, aws, kms_key, &key, err);
	if (r == 0)
		r = start(s, key, err);
	if (r < 0)
		return r;
	length = s->last - s->next;
	return input_open_reader(object, length, &reader, steal_ptr(s), ret);
}
