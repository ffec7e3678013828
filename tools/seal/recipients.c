/*
 * Recipients of a sealing. Job: one fresh data key for each file, wrapped for everyone named.
 * Trusts KMS for its part. Must never let a data key leave struct secret, nor use one for two
 * files.
 */
#include "tools/seal/recipients.h"

#include "attest/tpm_recipient.h"
#include "fs/aws/kms.h"

#include <errno.h>
#include <string.h>

struct recipients {
	struct aws *aws;
	const char *kms_keys[SEAL_SLOTS_MAX];
	unsigned kms_count;
	struct keyfile *keyfiles[SEAL_SLOTS_MAX];
	unsigned keyfile_count;
	struct tpm_recipient *tpms[SEAL_SLOTS_MAX];
	unsigned tpm_count;
	const struct set_keys *set; /* NULL: none */
	bool set_only;
};

static int load_keyfile(struct recipients *r, const char *path, struct error *err)
{
	struct keyfile *k = NULL;
	int code = keyfile_load(path, &k, err);

	if (code < 0)
		return code;
	for (unsigned i = 0; i < r->keyfile_count; i++)
		if (memcmp(keyfile_id(k), keyfile_id(r->keyfiles[i]), SLOT_KEYFILE_ID_SIZE) == 0) {
			keyfile_free(k);
			return error_set(err, -EINVAL, "the key file %s was given twice", path);
		}
	r->keyfiles[r->keyfile_count++] = k;
	return 0;
}

static int add_tpm(struct recipients *r, const char *text, struct error *err)
{
	_cleanup_(tpm_recipient_freep) struct tpm_recipient *tpm = NULL;
	int code = tpm_recipient_new(text, NULL, &tpm, err);

	for (unsigned i = 0; code == 0 && i < r->tpm_count; i++)
		if (tpm_recipient_equal(tpm, r->tpms[i]))
			code = error_set(err, -EINVAL, "the TPM %s was given twice", text);
	if (code == 0)
		r->tpms[r->tpm_count++] = steal_ptr(tpm);
	return code;
}

int recipients_new(const struct recipient_options *options, struct aws *aws,
		   struct recipients **ret, struct error *err)
{
	_cleanup_(recipients_freep) struct recipients *r = calloc(1, sizeof(*r));
	unsigned given = options->kms_count + options->keyfile_count + options->tpm_count;
	int code;

	if (!r)
		return -ENOMEM;
	if (given == 0) {
		error_set(err, -EINVAL, "no recipient was given: nobody could open the result");
		error_hint(err, "give --kms-key, --key-file or --tpm");
		return -EINVAL;
	}
	if (given > SEAL_SLOTS_MAX)
		return error_set(err, -EINVAL, "more than %d recipients", SEAL_SLOTS_MAX);
	r->aws = aws;
	for (unsigned i = 0; i < options->kms_count; i++) {
		for (unsigned j = 0; j < i; j++)
			if (strcmp(options->kms_keys[i], options->kms_keys[j]) == 0)
				return error_set(err, -EINVAL, "the KMS key %s was given twice",
						 options->kms_keys[i]);
		r->kms_keys[r->kms_count++] = options->kms_keys[i];
	}
	for (unsigned i = 0; i < options->keyfile_count; i++) {
		code = load_keyfile(r, options->keyfiles[i], err);
		if (code < 0)
			return code;
	}
	for (unsigned i = 0; i < options->tpm_count; i++) {
		code = add_tpm(r, options->tpms[i], err);
		if (code < 0)
			return code;
	}
	*ret = steal_ptr(r);
	return 0;
}

void recipients_use_set(struct recipients *r, const struct set_keys *keys, bool alone)
{
	r->set = keys;
	r->set_only = !alone;
}

void recipients_free(struct recipients *r)
{
	if (!r)
		return;
	for (unsigned i = 0; i < r->keyfile_count; i++)
		keyfile_free(r->keyfiles[i]);
	for (unsigned i = 0; i < r->tpm_count; i++)
		tpm_recipient_free(r->tpms[i]);
	free(r);
}

static int check_same_key(const struct recipients *r, char *const *arns, unsigned index,
			  struct error *err)
{
	for (unsigned i = 0; i < index; i++)
		if (strcmp(arns[i], arns[index]) == 0)
			return error_set(err, -EINVAL,
					 "--kms-key %s and --kms-key %s are one key, %s",
					 r->kms_keys[i], r->kms_keys[index], arns[i]);
	return 0;
}

static int make_kms_slot(const struct recipients *r, unsigned index, char **arns,
			 const uint8_t *file_id, struct secret **key, struct seal_slot *slot,
			 struct error *err)
{
	uint8_t blob[KMS_BLOB_MAX];
	size_t blob_size = 0;
	int code;

	if (*key)
		code = kms_encrypt(r->aws, r->kms_keys[index], file_id, *key, blob, &blob_size,
				   &arns[index], err);
	else
		code = kms_generate_data_key(r->aws, r->kms_keys[index], file_id, key, blob,
					     &blob_size, &arns[index], err);
	if (code == 0)
		code = check_same_key(r, arns, index, err);
	if (code == 0)
		code = slot_make_kms(arns[index], blob, blob_size, slot, err);
	return code;
}

static int make_slots(const struct recipients *r, char **arns, const uint8_t *file_id,
		      struct secret **key, struct seal_slot *slots, unsigned *ret_count,
		      struct error *err)
{
	unsigned count = r->set_only ? 0 : r->kms_count;
	int code;

	for (unsigned i = 0; i < count; i++) {
		code = make_kms_slot(r, i, arns, file_id, key, &slots[i], err);
		if (code < 0)
			return code;
	}
	if (!*key) {
		code = secret_new_random(SEAL_DATA_KEY_SIZE, key);
		if (code < 0)
			return code;
	}
	for (unsigned i = 0; !r->set_only && i < r->keyfile_count; i++) {
		code = slot_make_keyfile(r->keyfiles[i], file_id, *key, &slots[count++]);
		if (code < 0)
			return code;
	}
	for (unsigned i = 0; !r->set_only && i < r->tpm_count; i++) {
		code = tpm_recipient_slot(r->tpms[i], *key, &slots[count++], err);
		if (code < 0)
			return code;
	}
	if (r->set) {
		if (count == SEAL_SLOTS_MAX)
			return error_set(err, -EINVAL,
					 "a set's member has at most %d recipients of its own",
					 SEAL_SLOTS_MAX - 1);
		code = slot_make_set(r->set, file_id, *key, &slots[count++]);
		if (code < 0)
			return code;
	}
	*ret_count = count;
	return 0;
}

int recipients_make(const struct recipients *r, const uint8_t file_id[SEAL_FILE_ID_SIZE],
		    struct secret **ret_key, struct seal_slot *slots, unsigned *ret_count,
		    struct error *err)
{
	char *arns[SEAL_SLOTS_MAX] = {0};
	_cleanup_secret_ struct secret *key = NULL;
	int code = make_slots(r, arns, file_id, &key, slots, ret_count, err);

	for (unsigned i = 0; i < SEAL_SLOTS_MAX; i++)
		free(arns[i]);
	if (code < 0)
		return code;
	*ret_key = steal_ptr(key);
	return 0;
}

int recipients_wrap(const struct recipients *r, const uint8_t id[SEAL_FILE_ID_SIZE],
		    const struct secret *key, struct seal_slot *slots, unsigned *ret_count,
		    struct error *err)
{
	char *arns[SEAL_SLOTS_MAX] = {0};
	_cleanup_secret_ struct secret *copy = NULL;
	int code = secret_new_from(secret_data(key), secret_size(key), &copy);

	if (code == 0)
		code = make_slots(r, arns, id, &copy, slots, ret_count, err);
	for (unsigned i = 0; i < SEAL_SLOTS_MAX; i++)
		free(arns[i]);
	return code;
}
