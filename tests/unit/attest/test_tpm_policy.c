/* attest/tpm_policy, tpm_secret: what follows from a slot, against the values of the oracle. */
#include "attest/tpm_policy.h"
#include "crypto/base/cursor.h"
#include "crypto/base/encode.h"
#include "crypto/base/json.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

#define INDEX "tests/vectors/format/index.json"

static json_t *index_json;

static const char *text_of(const char *name)
{
	const json_t *all = json_object_get(json_object_get(index_json, "derivations"), "tpm_slot");
	const char *text = json_text(all, name);

	assert_non_null(text);
	return text;
}

/* The bytes of a value in hex. */
static size_t bytes_of(const char *name, uint8_t *out, size_t room)
{
	const char *text = text_of(name);
	size_t size = strlen(text) / 2;

	assert_true(size <= room);
	assert_int_equal(hex_decode(text, out, size), 0);
	return size;
}

static struct seal_slot load_slot(void)
{
	struct seal_slot slot = {.type = SEAL_SLOT_TPM2};

	slot.body_size = (uint16_t)bytes_of("body", slot.body, sizeof(slot.body));
	assert_null(slot_problem(&slot));
	return slot;
}

static void policy_and_name(void **state)
{
	uint8_t policy[SHA256_SIZE], name[TPM_NAME_SIZE], public[TPM_OBJECT_PUBLIC_SIZE];
	uint8_t want[TPM_NAME_SIZE];
	struct seal_slot slot = load_slot();
	struct tpm_slot s;

	assert_int_equal(slot_parse_tpm(&slot, &s, NULL), 0);
	assert_int_equal(s.bank, DIGEST_SHA256);
	assert_int_equal(s.selection, 1u << 4 | 1u << 7 | 1u << 12);
	assert_int_equal(tpm_slot_policy(&s, policy), 0);
	assert_int_equal(bytes_of("policy", want, sizeof(want)), SHA256_SIZE);
	assert_memory_equal(policy, want, SHA256_SIZE);
	assert_int_equal(tpm_slot_object(&s, public, name), 0);
	assert_int_equal(bytes_of("object_name", want, sizeof(want)), TPM_NAME_SIZE);
	assert_memory_equal(name, want, TPM_NAME_SIZE);
}

static void storage_keys(void **state)
{
	uint8_t bytes[STORAGE_PUBLIC_MAX + 2];
	struct seal_slot slot = load_slot();
	struct storage_key k;
	struct tpm_slot s;
	size_t size = bytes_of("storage_key", bytes + 2, sizeof(bytes) - 2);

	put_be16(bytes, (uint16_t)size);
	assert_int_equal(slot_parse_tpm(&slot, &s, NULL), 0);
	assert_int_equal(storage_key_parse(bytes, size + 2, &k, NULL), 0);
	assert_memory_equal(k.name, s.parent, SHA256_SIZE);
	assert_string_equal(storage_key_kind(&k), "ECC P-256");
	for (size_t n = 0; n < size + 2; n++)
		assert_int_equal(storage_key_parse(bytes, n, &k, NULL), -EPROTO);
	/* Every bit but those of the point and of what does not matter: a key without noDA is one,
	 * too. */
	for (size_t bit = 0; bit < 8 * (size + 2 - 68); bit++) {
		int r;

		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		r = storage_key_parse(bytes, size + 2, &k, NULL);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_true(r == -EPROTO || (r == 0 && bit >= 8 * 6 && bit < 8 * 10));
	}
}

/* A secret that is shared twice is another one, and its encrypted form too. */
static void secrets(void **state)
{
	uint8_t bytes[STORAGE_PUBLIC_MAX + 2], a[TPM_SEED_SIZE], b[TPM_SEED_SIZE];
	uint8_t x[SLOT_TPM_RSA_MAX], y[SLOT_TPM_RSA_MAX];
	struct storage_key k;
	size_t size = bytes_of("storage_key", bytes + 2, sizeof(bytes) - 2), n;

	put_be16(bytes, (uint16_t)size);
	assert_int_equal(storage_key_parse(bytes, size + 2, &k, NULL), 0);
	assert_int_equal(storage_key_share(&k, "DUPLICATE", a, x, &n), 0);
	assert_int_equal(n, SLOT_TPM_POINT_SIZE);
	assert_int_equal(storage_key_share(&k, "DUPLICATE", b, y, &n), 0);
	assert_memory_not_equal(a, b, sizeof(a));
	assert_memory_not_equal(x, y, n);
	memset(k.point, 0, sizeof(k.point)); /* not on the curve */
	assert_true(storage_key_share(&k, "DUPLICATE", a, x, &n) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policy_and_name),
		cmocka_unit_test(storage_keys),
		cmocka_unit_test(secrets),
	};
	int failed;

	index_json = json_load_file(TEST_SOURCE_ROOT "/" INDEX, 0, NULL);
	failed = index_json ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
	json_decref(index_json);
	return failed;
}
