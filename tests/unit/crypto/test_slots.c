/* crypto/slots, crypto/keyfile: shapes, KMS bodies, key files, wrapping. */
#include "crypto/base/cursor.h"
#include "crypto/base/encode.h"
#include "crypto/slots.h"
#include "tests/unit/crypto/files.h"
#include "tests/unit/crypto/fixture.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define ARN "arn:aws:kms:eu-west-1:111122223333:key/k"
#define GOOD_KEY \
	"sealedfs-kek-v1:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"

static void kms_round_trip(void **state)
{
	uint8_t blob[SLOT_KMS_BLOB_MAX], bytes[SEAL_SLOT_SIZE];
	char arn[SLOT_KMS_ARN_MAX + 1];
	struct seal_slot slot, loaded;
	struct kms_slot kms;

	memset(arn, 'a', SLOT_KMS_ARN_MAX);
	arn[SLOT_KMS_ARN_MAX] = '\0';
	memset(blob, 0x5A, sizeof(blob));
	assert_int_equal(slot_make_kms(ARN, blob, 1, &slot, NULL), 0);
	assert_int_equal(slot_parse_kms(&slot, &kms, NULL), 0);
	assert_string_equal(kms.arn, ARN);
	assert_int_equal(kms.blob_size, 1);
	assert_int_equal(slot_make_kms(arn, blob, sizeof(blob), &slot, NULL), 0);
	slot_store(&slot, bytes);
	assert_null(slot_load(bytes, &loaded));
	assert_int_equal(slot_parse_kms(&loaded, &kms, NULL), 0);
	assert_string_equal(kms.arn, arn);
	assert_int_equal(kms.blob_size, sizeof(blob));
	assert_memory_equal(kms.blob, blob, sizeof(blob));
}

static void kms_slots_that_cannot_be_made(void **state)
{
	uint8_t blob[SLOT_KMS_BLOB_MAX + 1] = {0};
	char arn[SLOT_KMS_ARN_MAX + 2];
	struct seal_slot slot;
	struct error err = {0};

	memset(arn, 'a', sizeof(arn) - 1);
	arn[sizeof(arn) - 1] = '\0';
	assert_int_equal(slot_make_kms(arn, blob, 1, &slot, &err), -EINVAL);
	assert_true(strlen(err.message) > 0);
	assert_int_equal(slot_make_kms("", blob, 1, &slot, NULL), -EINVAL);
	assert_int_equal(slot_make_kms("arn aws", blob, 1, &slot, NULL), -EINVAL);
	assert_int_equal(slot_make_kms("arn\n", blob, 1, &slot, NULL), -EINVAL);
	assert_int_equal(slot_make_kms("arn\xC3\xA4", blob, 1, &slot, NULL), -EINVAL);
	assert_int_equal(slot_make_kms(ARN, blob, 0, &slot, NULL), -EINVAL);
	assert_int_equal(slot_make_kms(ARN, blob, sizeof(blob), &slot, NULL), -EINVAL);
}

static void kms_bodies_of_every_other_length_are_malformed(void **state)
{
	uint8_t blob[8] = {0};
	struct seal_slot slot, cut;
	struct kms_slot kms = {.blob_size = 77};
	struct error err = {0};

	assert_int_equal(slot_make_kms(ARN, blob, sizeof(blob), &slot, NULL), 0);
	for (unsigned n = 0; n <= SEAL_SLOT_BODY_MAX; n++) {
		cut = slot;
		cut.body_size = (uint16_t)n;
		assert_int_equal(slot_parse_kms(&cut, &kms, NULL),
				 n == slot.body_size ? 0 : -EPROTO);
	}
	cut = slot;
	cut.type = SEAL_SLOT_KEYFILE;
	assert_int_equal(slot_parse_kms(&cut, &kms, &err), -EPROTO);
	assert_non_null(strstr(err.message, "malformed"));
	cut = slot;
	cut.body[4] = 0x7F;
	assert_int_equal(slot_parse_kms(&cut, &kms, NULL), -EPROTO);
}

/* Parts of a slot for a TPM; all bytes are 0xD5, so they look like a modulus, too. */
static struct tpm_slot tpm_parts(uint8_t bytes[SLOT_TPM_RSA_MAX])
{
	memset(bytes, 0xD5, SLOT_TPM_RSA_MAX);
	return (struct tpm_slot){.parent = bytes,
				 .bank = DIGEST_SHA256,
				 .selection = 1u << 7,
				 .values = bytes,
				 .policy_key = bytes,
				 .unique = bytes,
				 .seed = bytes,
				 .seed_size = SLOT_TPM_POINT_SIZE,
				 .integrity = bytes,
				 .sensitive = bytes};
}

static void tpm_round_trip(void **state)
{
	uint8_t bytes[SLOT_TPM_RSA_MAX];
	struct tpm_slot parts = tpm_parts(bytes), got;
	struct seal_slot slot, cut;

	assert_int_equal(slot_make_tpm(&parts, &slot, NULL), 0);
	assert_int_equal(slot.body_size, 180 + 32 + 64);
	assert_int_equal(slot_parse_tpm(&slot, &got, NULL), 0);
	assert_int_equal(got.value_count, 1);
	assert_true(slot_same_tpm(&slot, &slot));
	for (unsigned n = 0; n <= SEAL_SLOT_BODY_MAX; n++) {
		cut = slot;
		cut.body_size = (uint16_t)n;
		assert_int_equal(slot_parse_tpm(&cut, &got, NULL),
				 n == slot.body_size ? 0 : -EPROTO);
	}
	cut = slot;
	cut.body[slot.body_size - 1] ^= 1; /* another wrap for the same recipient */
	assert_true(slot_same_tpm(&slot, &cut));
	cut.body[0] ^= 1;
	assert_false(slot_same_tpm(&slot, &cut));
}

static void tpm_slots_that_cannot_be_made(void **state)
{
	uint8_t bytes[SLOT_TPM_RSA_MAX];
	struct tpm_slot parts = tpm_parts(bytes);
	struct seal_slot slot;

	parts.bank = DIGEST_SHA1;
	assert_int_equal(slot_make_tpm(&parts, &slot, NULL), -EINVAL);
	parts = tpm_parts(bytes);
	parts.selection = 0;
	assert_int_equal(slot_make_tpm(&parts, &slot, NULL), -EINVAL);
	parts.bank = 0; /* and no policy key: nothing to fulfil */
	assert_int_equal(slot_make_tpm(&parts, &slot, NULL), -EINVAL);
	parts.policy_key_size = 256;
	assert_int_equal(slot_make_tpm(&parts, &slot, NULL), 0);
	parts.policy_key_size = 384;
	parts.seed_size = 384;
	assert_int_equal(slot_make_tpm(&parts, &slot, NULL), 0);
	parts = tpm_parts(bytes);
	parts.selection = 7; /* three values and the longest keys do not fit */
	parts.policy_key_size = parts.seed_size = 384;
	assert_int_equal(slot_make_tpm(&parts, &slot, NULL), -EINVAL);
	parts.seed_size = 128;
	assert_int_equal(slot_make_tpm(&parts, &slot, NULL), -EINVAL);
}

static void shapes(void **state)
{
	uint8_t bytes[SEAL_SLOT_SIZE] = {0};
	struct seal_slot slot;

	assert_non_null(slot_load(bytes, &slot)); /* type 0 */
	put_le16(bytes, 0x7FFF);
	assert_null(slot_load(bytes, &slot)); /* unknown, no body */
	assert_int_equal(slot.type, 0x7FFF);
	bytes[SEAL_SLOT_SIZE - 1] = 1;
	assert_non_null(slot_load(bytes, &slot)); /* fill is not zero */
	put_le16(bytes + 2, SEAL_SLOT_BODY_MAX);
	assert_null(slot_load(bytes, &slot)); /* now it is body */
	put_le16(bytes + 2, SEAL_SLOT_BODY_MAX + 1);
	assert_non_null(slot_load(bytes, &slot));
	put_le16(bytes + 2, UINT16_MAX);
	assert_non_null(slot_load(bytes, &slot));
	memset(bytes, 0, sizeof(bytes));
	put_le16(bytes, SEAL_SLOT_KEYFILE);
	for (uint16_t n = 0; n < 200; n++) {
		put_le16(bytes + 2, n);
		assert_int_equal(slot_load(bytes, &slot) == NULL, n == 76);
		assert_int_equal(slot_keyfile_id(&slot) != NULL, n == 76);
	}
	put_le16(bytes, SEAL_SLOT_SET);
	for (uint16_t n = 0; n < 200; n++) {
		put_le16(bytes + 2, n);
		assert_int_equal(slot_load(bytes, &slot) == NULL, n == 92);
		assert_int_equal(slot_set_id(&slot) != NULL, n == 92);
	}
	put_le16(bytes, SEAL_SLOT_KEYFILE);
	put_le16(bytes + 2, 76);
	assert_null(slot_load(bytes, &slot));
	assert_null(slot_set_id(&slot));
}

static void a_generated_key_file_is_private_and_unique(void **state)
{
	char *dir = temp_dir_new();
	_cleanup_free_ char *a = path_join(dir, "a"), *b = path_join(dir, "b");
	_cleanup_(keyfile_freep) struct keyfile *first = NULL;
	_cleanup_(keyfile_freep) struct keyfile *second = NULL;
	struct error err = {0};
	struct stat st;

	assert_int_equal(keyfile_generate(a, &err), 0);
	assert_int_equal(keyfile_generate(b, &err), 0);
	assert_int_equal(stat(a, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, 81);
	assert_int_equal(keyfile_load(a, &first, &err), 0);
	assert_int_equal(keyfile_load(b, &second, &err), 0);
	assert_memory_not_equal(keyfile_id(first), keyfile_id(second), SLOT_KEYFILE_ID_SIZE);
	assert_int_equal(keyfile_generate(a, &err), -EEXIST);
	assert_non_null(strstr(err.message, a));
	temp_dir_done(dir);
}

static void the_key_id_is_the_vectors(void **state)
{
	_cleanup_free_ char *source = vector_path("keys/kek.key");
	_cleanup_blob_ struct blob text = blob_load(source);
	char *dir = temp_dir_new(), hex[2 * SLOT_KEYFILE_ID_SIZE + 1];
	_cleanup_free_ char *path = path_join(dir, "kek");
	_cleanup_(keyfile_freep) struct keyfile *k = NULL;

	blob_store(path, text.data, text.size, 0400);
	assert_int_equal(keyfile_load(path, &k, NULL), 0);
	hex_encode(keyfile_id(k), SLOT_KEYFILE_ID_SIZE, hex);
	assert_string_equal(hex, "51ff832b5f7c2633f6e25023f8e13c07");
	temp_dir_done(dir);
}

static void what_is_no_key_file(void **state)
{
	static const char digits[] =
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
	const char *bad[] = {
		"",
		"\n",
		"sealedfs-kek-v1:",
		"sealedfs-kek-v1:\n",
		"sealedfs-kek-v2:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n",
		"Sealedfs-kek-v1:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n",
		"sealedfs-kek-v1:000102030405060708090A0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n",
		"sealedfs-kek-v1:00010203040506070809 a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n",
		"sealedfs-kek-v1:g00102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n",
		"sealedfs-kek-v1:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
		"sealedfs-kek-v1:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1\n",
		"sealedfs-kek-v1:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\r",
		GOOD_KEY "\n",
		GOOD_KEY GOOD_KEY,
		" " GOOD_KEY,
		digits,
	};
	char *dir = temp_dir_new();
	_cleanup_free_ char *path = path_join(dir, "k");
	struct keyfile *k = NULL;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct error err = {0};

		blob_store(path, bad[i], strlen(bad[i]), 0600);
		assert_int_equal(keyfile_load(path, &k, &err), -EINVAL);
		assert_non_null(strstr(err.message, path));
		assert_null(strstr(err.message, "0102030405"));
		assert_null(k);
	}
	blob_store(path, GOOD_KEY, strlen(GOOD_KEY), 0600);
	assert_int_equal(keyfile_load(path, &k, NULL), 0);
	keyfile_free(k);
	temp_dir_done(dir);
}

static void others_must_not_read_it(void **state)
{
	static const unsigned refused[] = {0640, 0604, 0620, 0602, 0610, 0601, 0644, 0777};
	static const unsigned accepted[] = {0600, 0400, 0700};
	char *dir = temp_dir_new();
	_cleanup_free_ char *path = path_join(dir, "k"), *missing = path_join(dir, "none");
	_cleanup_free_ uint8_t *large = calloc(1, 100000);
	struct keyfile *k = NULL;

	assert_non_null(large);
	blob_store(path, GOOD_KEY, strlen(GOOD_KEY), 0600);
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		struct error err = {0};

		assert_int_equal(chmod(path, refused[i]), 0);
		assert_int_equal(keyfile_load(path, &k, &err), -EINVAL);
		assert_non_null(strstr(err.hint, "chmod 600"));
	}
	for (size_t i = 0; i < ARRAY_LEN(accepted); i++) {
		assert_int_equal(chmod(path, accepted[i]), 0);
		assert_int_equal(keyfile_load(path, &k, NULL), 0);
		keyfile_free(steal_ptr(k));
	}
	assert_int_equal(keyfile_load(missing, &k, NULL), -ENOENT);
	assert_int_equal(keyfile_load(dir, &k, NULL), -EISDIR);
	assert_int_equal(keyfile_generate("/nonexistent/dir/k", NULL), -ENOENT);
	assert_int_equal(chmod(path, 0600), 0);
	blob_store(path, large, 100000, 0600);
	assert_int_equal(keyfile_load(path, &k, NULL), -EINVAL);
	temp_dir_done(dir);
}

static void wrap_and_unwrap(void **state)
{
	_cleanup_(keyfile_freep) struct keyfile *ours = fixture_keyfile();
	_cleanup_(keyfile_freep) struct keyfile *other = fixture_keyfile();
	_cleanup_secret_ struct secret *key = NULL;
	_cleanup_secret_ struct secret *back = NULL;
	_cleanup_secret_ struct secret *nothing = NULL;
	uint8_t id[SEAL_FILE_ID_SIZE] = {9};
	struct seal_slot slot, again, broken;

	assert_int_equal(secret_new_random(SEAL_DATA_KEY_SIZE, &key), 0);
	assert_int_equal(slot_make_keyfile(ours, id, key, &slot), 0);
	assert_int_equal(slot_make_keyfile(ours, id, key, &again), 0);
	assert_memory_not_equal(slot.body + 16, again.body + 16, 60); /* fresh nonce */
	assert_null(slot_problem(&slot));
	assert_int_equal(slot_open_keyfile(&slot, ours, id, &back), 0);
	assert_memory_equal(secret_data(back), secret_data(key), SEAL_DATA_KEY_SIZE);
	assert_int_equal(slot_open_keyfile(&slot, other, id, &nothing), -ENOKEY);
	for (size_t bit = 0; bit < 76 * 8; bit++) {
		broken = slot;
		broken.body[bit / 8] ^= (uint8_t)(1U << bit % 8);
		assert_int_equal(slot_open_keyfile(&broken, ours, id, &nothing),
				 bit < 16 * 8 ? -ENOKEY : -EBADMSG);
		assert_null(nothing);
	}
	id[31] ^= 1;
	assert_int_equal(slot_open_keyfile(&slot, ours, id, &nothing), -EBADMSG);
	broken = slot;
	broken.type = SEAL_SLOT_KMS;
	assert_int_equal(slot_open_keyfile(&broken, ours, id, &nothing), -ENOKEY);
	broken = slot;
	broken.body_size = 75;
	assert_int_equal(slot_open_keyfile(&broken, ours, id, &nothing), -ENOKEY);
	assert_null(nothing);
}

static void only_data_keys_are_wrapped(void **state)
{
	_cleanup_(keyfile_freep) struct keyfile *k = fixture_keyfile();
	_cleanup_secret_ struct secret *key = NULL;
	uint8_t id[SEAL_FILE_ID_SIZE] = {0};
	struct seal_slot slot;

	assert_int_equal(secret_new_random(16, &key), 0);
	assert_int_equal(slot_make_keyfile(k, id, key, &slot), -EINVAL);
	keyfile_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kms_round_trip),
		cmocka_unit_test(kms_slots_that_cannot_be_made),
		cmocka_unit_test(kms_bodies_of_every_other_length_are_malformed),
		cmocka_unit_test(tpm_round_trip),
		cmocka_unit_test(tpm_slots_that_cannot_be_made),
		cmocka_unit_test(shapes),
		cmocka_unit_test(a_generated_key_file_is_private_and_unique),
		cmocka_unit_test(the_key_id_is_the_vectors),
		cmocka_unit_test(what_is_no_key_file),
		cmocka_unit_test(others_must_not_read_it),
		cmocka_unit_test(wrap_and_unwrap),
		cmocka_unit_test(only_data_keys_are_wrapped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
