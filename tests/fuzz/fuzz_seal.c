/*
 * Fuzz target: the parser of seals. The input is a seal object, or the start of one. What parses
 * must also hold the promises that seal.h makes to callers; a broken one aborts.
 */
#include "crypto/base/cursor.h"
#include "crypto/failure.h"
#include "crypto/name.h"
#include "crypto/seal.h"

#include <errno.h>
#include <string.h>

#define LENGTH_AT 0x30
#define SLOT_COUNT_AT 0x280

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void promise(bool kept)
{
	if (!kept)
		abort();
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
	promise((slot_keyfile_id(slot) != NULL) == (slot->type == SEAL_SLOT_KEYFILE));
}

static void check_names(const struct seal *s)
{
	const char *name = seal_core(s)->name;
	_cleanup_free_ char *object = NULL;
	_cleanup_free_ char *payload = NULL;

	promise(name_problem(name, strlen(name)) == NULL);
	promise(asprintf(&object, "dir/%s%s", name, SEAL_SUFFIX) > 0);
	promise(seal_check_name(s, object, NULL) == 0);
	promise(seal_payload_name(s, object, &payload) == 0);
	promise(strlen(payload) == strlen(object) - strlen(SEAL_SUFFIX) + 24);
}

static void check_seal(const struct seal *s, const uint8_t *data)
{
	const struct seal_core *core = seal_core(s);
	uint64_t sum = 0;

	promise(core->length <= SEAL_LENGTH_MAX);
	promise(seal_slot_count(s) >= 1 && seal_slot_count(s) <= SEAL_SLOTS_MAX);
	for (unsigned i = 0; i < seal_slot_count(s); i++)
		check_slot(seal_slot(s, i));
	check_names(s);
	promise(seal_check_owner(s, NULL, NULL) == 0);
	if (!seal_has_tables(s))
		return;
	for (uint64_t i = 0; i < core->chunk_count; i++) {
		promise(seal_chunk_size(s, i) > 0);
		promise(seal_tag(s, i)[0] + seal_hash(s, i)[31] >= 0);
		sum += seal_chunk_size(s, i);
	}
	promise(sum == core->length);
	promise(memcmp(core->file_id, data + 0x10, SEAL_FILE_ID_SIZE) == 0);
}

/* With a key that fits nothing: all that runs before the commitment. */
static void try_unlock(const struct seal *s)
{
	static struct secret *key;
	struct seal_keys *keys = NULL;
	struct error err = {0};

	if (!key && secret_new(SEAL_DATA_KEY_SIZE, &key) < 0)
		return;
	promise(seal_unlock(s, key, &keys, &err) == -EBADMSG && !keys);
	promise(seal_failure_of(&err) == SEAL_WRONG_KEY);
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
	struct seal_slot slot;
	int r = seal_parse("fuzz\n\"", data, size, &whole, &err);

	if (r == 0) {
		check_seal(whole, data);
		try_unlock(whole);
	} else {
		check_error(r, &err);
	}
	r = seal_parse_head("fuzz", data, size, stated_size(data, size), &head, &head_err);
	promise(r == 0 || !whole);
	if (r == 0)
		check_seal(head, data);
	else
		check_error(r, &head_err);
	if (size >= SEAL_SLOT_SIZE && !slot_load(data, &slot))
		check_slot(&slot);
	return 0;
}
