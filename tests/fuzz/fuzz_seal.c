/*
 * Fuzz target: the parser of seals. The input is a seal object, or the start of one. What parses
 * must also hold the promises that seal.h makes to callers; a broken one aborts.
 */
#include "crypto/base/cursor.h"
#include "crypto/facts.h"
#include "crypto/failure.h"
#include "crypto/kdf.h"
#include "crypto/name.h"
#include "crypto/seal_internal.h"

#include <errno.h>
#include <string.h>

#define LENGTH_AT 0x30
#define COMMITMENT_AT 0xD0
#define SLOT_COUNT_AT 0x880

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void promise(bool kept)
{
	if (!kept)
		abort();
}

static void check_tpm_slot(const struct seal_slot *slot)
{
	struct seal_slot again = {0};
	struct tpm_slot tpm = {0};

	promise((slot_parse_tpm(slot, &tpm, NULL) == 0) == (slot->type == SEAL_SLOT_TPM2));
	if (slot->type != SEAL_SLOT_TPM2)
		return;
	promise(tpm.selection != 0 || tpm.policy_key_size > 0);
	promise(tpm.sensitive + SLOT_TPM_SENSITIVE_SIZE == slot->body + slot->body_size);
	promise(slot_make_tpm(&tpm, &again, NULL) == 0);
	promise(memcmp(slot, &again, sizeof(again)) == 0);
}

static void check_slot(const struct seal_slot *slot)
{
	uint8_t stored[SEAL_SLOT_SIZE];
	struct seal_slot again;
	struct kms_slot kms;

	promise(slot_problem(slot) == NULL);
	slot_store(slot, stored);
	promise(slot_load(stored, &again) == NULL);
	promise(memcmp(slot, &again, sizeof(again)) == 0);
	promise((slot_parse_kms(slot, &kms, NULL) == 0) == (slot->type == SEAL_SLOT_KMS));
	if (slot->type == SEAL_SLOT_KMS)
		promise(strlen(kms.arn) > 0 && kms.blob_size > 0);
	check_tpm_slot(slot);
	promise((slot_keyfile_id(slot) != NULL) == (slot->type == SEAL_SLOT_KEYFILE));
	promise((slot_set_id(slot) != NULL) == (slot->type == SEAL_SLOT_SET));
}

static void check_texts(const struct seal *s)
{
	const struct seal_core *core = seal_core(s);
	_cleanup_free_ char *object = NULL;
	_cleanup_free_ char *payload = NULL;
	struct facts again = {0};
	struct fact f;
	size_t at = 0;

	promise(model_path_problem(core->path, strlen(core->path)) == NULL);
	promise(asprintf(&object, "dir/%s%s", core->path, SEAL_SUFFIX) > 0);
	promise(seal_check_name(s, object, NULL) == 0);
	promise(seal_check_name(s, object + strlen("dir/"), NULL) == 0);
	promise(seal_check_name(s, name_last_component(object), NULL) == 0);
	object[strlen(object) - strlen(SEAL_SUFFIX) - 1] ^= 1;
	promise(seal_check_name(s, object, NULL) == -EBADMSG);
	promise(seal_payload_name(s, object, &payload) == 0);
	promise(strlen(payload) == strlen(object) - strlen(SEAL_SUFFIX) + 24);
	while (facts_next(core->facts, &at, &f)) {
		_cleanup_free_ char *key = strndup(f.key, f.key_size);
		_cleanup_free_ char *value = strndup(f.value, f.value_size);

		promise(key && value && facts_add(&again, key, value) == 0);
	}
	promise(strcmp(again.text, core->facts) == 0);
	promise(core->sealed_at <= SEAL_TIME_MAX);
}

static void check_seal(const struct seal *s, const uint8_t *data)
{
	const struct seal_core *core = seal_core(s);
	uint8_t hash[SHA256_SIZE];

	promise(core->length <= SEAL_LENGTH_MAX);
	promise(seal_slot_count(s) >= 1 && seal_slot_count(s) <= SEAL_SLOTS_MAX);
	for (unsigned i = 0; i < seal_slot_count(s); i++)
		check_slot(seal_slot(s, i));
	check_texts(s);
	promise(seal_check_owner(s, NULL, NULL) == 0);
	promise(seal_core_hash(s, hash) == 0);
	promise(!seal_has_tables(s) && !seal_tag(s, 0) && !seal_hash(s, 0));
	promise(memcmp(core->file_id, data + 0x10, SEAL_FILE_ID_SIZE) == 0);
}

static void check_tables(const struct seal *s)
{
	const struct seal_core *core = seal_core(s);
	uint64_t sum = 0;

	for (uint64_t i = 0; i < core->chunk_count; i++) {
		promise(seal_chunk_size(s, i) > 0);
		promise(seal_tag(s, i)[0] + seal_hash(s, i)[31] >= 0);
		sum += seal_chunk_size(s, i);
	}
	promise(sum == core->length);
}

/* A key for everything, whatever the seal says. */
static const struct secret *any_key(void)
{
	static struct secret *key;

	promise(key || secret_new(SEAL_DATA_KEY_SIZE, &key) == 0);
	return key;
}

/* With a key that fits nothing: all that runs before the commitment. */
static void try_unlock(const struct seal *s)
{
	struct seal_keys *keys = NULL;
	struct error err = {0};

	promise(seal_unlock(s, any_key(), &keys, &err) == -EBADMSG && !keys);
	promise(seal_failure_of(&err) == SEAL_WRONG_KEY);
}

/* The same seal as a holder of the data key could have made it: what runs behind the slot MAC. */
static void try_tables(const struct seal *s, const uint8_t *data, size_t size)
{
	_cleanup_seal_keys_ struct seal_keys *keys = NULL;
	_cleanup_seal_keys_ struct seal_keys *again = NULL;
	_cleanup_seal_ struct seal *fixed = NULL;
	_cleanup_free_ uint8_t *copy = malloc(size);
	uint8_t *tables = malloc((size_t)seal_tables_size(s) + 1);
	struct error err = {0};
	int r;

	promise(copy && tables && seal_keys_derive(any_key(), data, &keys) == 0);
	memcpy(copy, data, size);
	memcpy(copy + COMMITMENT_AT, secret_data(keys->derived) + KDF_COMMITMENT_AT, 32);
	promise(sealed_head_mac(seal_mac_key(keys), copy, s->head->slots, s->head->slot_count,
				copy + SLOT_MAC_AT) == 0);
	promise(seal_parse_head("fixed", copy, size, size, &fixed, NULL) == 0);
	promise(seal_unlock(fixed, any_key(), &again, NULL) == 0);
	memcpy(tables, copy + seal_tables_offset(s), (size_t)seal_tables_size(s));
	r = seal_load_tables(fixed, again, tables, &err);
	promise(r == 0 || r == -EBADMSG);
	promise(seal_has_tables(fixed) == (r == 0));
	if (r == 0)
		check_tables(fixed);
}

/* The size that a truthful listing would state for this head, so that cut inputs get further. */
static uint64_t stated_size(const uint8_t *data, size_t size)
{
	struct cursor c = cursor_init(data, size);
	uint64_t length, result;

	(void)cursor_take(&c, LENGTH_AT);
	length = cursor_le64(&c);
	(void)cursor_take(&c, SLOT_COUNT_AT - LENGTH_AT - 8);
	result = seal_object_size(length, cursor_le16(&c));
	return result ? result : size;
}

static void check_error(int r, const struct error *err)
{
	enum seal_failure failure = seal_failure_of(err);

	promise(r == -EPROTO);
	promise(failure == SEAL_MALFORMED || failure == SEAL_UNSUPPORTED);
	promise(utf8_valid(err->message, strlen(err->message)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_seal_ struct seal *whole = NULL;
	_cleanup_seal_ struct seal *head = NULL;
	struct error err = {0}, head_err = {0};
	uint8_t padded[SEAL_HEAD_MAX] = {0};
	uint64_t stated = stated_size(data, size);
	struct seal_slot slot;
	int r = seal_parse_head("fuzz\n\"", data, size, size, &whole, &err);

	if (r == 0) {
		check_seal(whole, data);
		try_unlock(whole);
		try_tables(whole, data, size);
	} else {
		check_error(r, &err);
	}
	memcpy(padded, data, MIN(size, sizeof(padded)));
	r = seal_parse_head("fuzz", padded, (size_t)MIN(stated, (uint64_t)sizeof(padded)), stated,
			    &head, &head_err);
	promise(r == 0 || !whole);
	if (r == 0)
		check_seal(head, padded);
	else
		check_error(r, &head_err);
	if (size >= SEAL_SLOT_SIZE && !slot_load(data, &slot))
		check_slot(&slot);
	return 0;
}
