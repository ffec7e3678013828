/*
 * Key files: a key-encryption key on disk, and the slots it opens. Job: load, generate, wrap and
 * unwrap. Trusts the file's owner; refuses a file that others can read. Must never let key bytes
 * out of secret memory, nor keep a data key whose wrap did not verify.
 */
#include "crypto/base/digest.h"
#include "crypto/base/encode.h"
#include "crypto/key_io.h"
#include "crypto/name.h"
#include "crypto/slot_wrap.h"

#include <errno.h>
#include <string.h>

#define KEYFILE_PREFIX "sealedfs-kek-v1:"
#define KEYFILE_PREFIX_SIZE (sizeof(KEYFILE_PREFIX) - 1)
#define KEYFILE_DIGITS ((size_t)2 * KEYFILE_KEY_SIZE)
#define KEYFILE_SIZE (KEYFILE_PREFIX_SIZE + KEYFILE_DIGITS + 1)
#define KEY_ID_CONTEXT "sealedfs key-encryption key" /* with its NUL */

struct keyfile {
	struct secret *kek;
	uint8_t id[SLOT_KEYFILE_ID_SIZE];
};

static int make_id(struct keyfile *k)
{
	_cleanup_digest_ struct digest *d = NULL;
	uint8_t whole[SHA256_SIZE];
	int r = digest_new(DIGEST_SHA256, &d);

	if (r == 0)
		r = digest_update(d, KEY_ID_CONTEXT, sizeof(KEY_ID_CONTEXT));
	if (r == 0)
		r = digest_update(d, secret_data(k->kek), KEYFILE_KEY_SIZE);
	if (r == 0)
		r = digest_final(d, whole);
	if (r == 0)
		memcpy(k->id, whole, sizeof(k->id));
	return r;
}

/* Exactly one encoding, so that one key has one file and one id. */
static int parse(const struct secret *text, struct secret **ret)
{
	const char *p = (const char *)secret_data(text);
	_cleanup_secret_ struct secret *digits = NULL;
	_cleanup_secret_ struct secret *kek = NULL;
	int r;

	if (secret_size(text) != KEYFILE_SIZE || p[KEYFILE_SIZE - 1] != '\n' ||
	    memcmp(p, KEYFILE_PREFIX, KEYFILE_PREFIX_SIZE) != 0)
		return -EINVAL;
	for (size_t i = KEYFILE_PREFIX_SIZE; i < KEYFILE_SIZE - 1; i++)
		if (p[i] >= 'A' && p[i] <= 'F')
			return -EINVAL;
	r = secret_new(KEYFILE_DIGITS + 1, &digits);
	if (r == 0)
		r = secret_new(KEYFILE_KEY_SIZE, &kek);
	if (r < 0)
		return r;
	memcpy(secret_bytes(digits), p + KEYFILE_PREFIX_SIZE, KEYFILE_DIGITS);
	if (hex_decode((const char *)secret_data(digits), secret_bytes(kek), KEYFILE_KEY_SIZE) < 0)
		return -EINVAL;
	*ret = steal_ptr(kek);
	return 0;
}

int keyfile_load(const char *path, struct keyfile **ret, struct error *err)
{
	_cleanup_(keyfile_freep) struct keyfile *k = NULL;
	_cleanup_secret_ struct secret *text = NULL;
	char printable[NAME_PRINTABLE_SIZE];
	int r = key_io_read(path, TRUST_SECRET, &text, err);

	if (r < 0)
		return r;
	name_printable(path, printable);
	k = calloc(1, sizeof(*k));
	if (!k)
		return error_set(err, -ENOMEM, "no memory for a key file");
	r = parse(text, &k->kek);
	if (r == -EINVAL) {
		error_set(err, r, "\"%s\" is not a sealedfs key file", printable);
		error_hint(err, "sealctl keygen makes one");
		return r;
	}
	if (r == 0)
		r = make_id(k);
	if (r < 0)
		return error_set(err, r, "cannot load the key file \"%s\"", printable);
	*ret = steal_ptr(k);
	return 0;
}

int keyfile_generate(const char *path, struct error *err)
{
	_cleanup_secret_ struct secret *kek = NULL;
	_cleanup_secret_ struct secret *text = NULL;
	char *p;
	int r = secret_new_random(KEYFILE_KEY_SIZE, &kek);

	if (r == 0)
		r = secret_new(KEYFILE_SIZE + 1, &text);
	if (r < 0)
		return error_set(err, r, "cannot make a key");
	p = (char *)secret_bytes(text);
	memcpy(p, KEYFILE_PREFIX, KEYFILE_PREFIX_SIZE);
	hex_encode(secret_data(kek), KEYFILE_KEY_SIZE, p + KEYFILE_PREFIX_SIZE);
	p[KEYFILE_SIZE - 1] = '\n';
	return key_io_create(path, p, KEYFILE_SIZE, 0600, err);
}

void keyfile_free(struct keyfile *k)
{
	if (!k)
		return;
	secret_free(k->kek);
	free(k);
}

const uint8_t *keyfile_id(const struct keyfile *k)
{
	return k->id;
}

static struct slot_wrap wrap_of(const struct keyfile *k, const uint8_t *file_id)
{
	return (struct slot_wrap){.type = SEAL_SLOT_KEYFILE,
				  .id = k->id,
				  .id_size = SLOT_KEYFILE_ID_SIZE,
				  .key = secret_data(k->kek),
				  .aad = file_id,
				  .aad_size = SEAL_FILE_ID_SIZE};
}

int slot_make_keyfile(const struct keyfile *k, const uint8_t file_id[SEAL_FILE_ID_SIZE],
		      const struct secret *data_key, struct seal_slot *ret)
{
	struct slot_wrap w = wrap_of(k, file_id);

	return slot_wrap(&w, data_key, ret);
}

int slot_open_keyfile(const struct seal_slot *slot, const struct keyfile *k,
		      const uint8_t file_id[SEAL_FILE_ID_SIZE], struct secret **ret_data_key)
{
	const uint8_t *id = slot_keyfile_id(slot);
	struct slot_wrap w = wrap_of(k, file_id);

	if (!id || memcmp(id, k->id, SLOT_KEYFILE_ID_SIZE) != 0)
		return -ENOKEY;
	return slot_unwrap(&w, slot, ret_data_key);
}

const uint8_t *slot_keyfile_id(const struct seal_slot *slot)
{
	return slot->type == SEAL_SLOT_KEYFILE && slot->body_size == SLOT_KEYFILE_SIZE ? slot->body
										       : NULL;
}
