/*
 * TPMs as recipients. Job: understand what the user wants, and wrap a data key so that only that
 * TPM can import it. Trusts the storage key that the user names. Must never leave a data key in
 * ordinary memory, nor make a slot that needs no state of the machine.
 */
#include "attest/tpm_recipient.h"

#include "attest/pcr.h"
#include "attest/policy_signature.h"
#include "attest/tpm_policy.h"
#include "attest/tpm_storage.h"
#include "crypto/base/cursor.h"
#include "crypto/base/encode.h"
#include "crypto/base/log.h"

#include <errno.h>
#include <openssl/rand.h>
#include <string.h>
#include <tss2/tss2_tpm2_types.h>

#define RESETTABLE ((UINT32_C(1) << 16) | (UINT32_C(1) << 23))
#define PLAIN_KEY_AT 42

struct tpm_recipient {
	struct storage_key key;
	unsigned bank;	    /* enum digest_alg */
	uint32_t selection; /* of all PCRs */
	uint32_t given;	    /* of those with a value from the user */
	uint8_t values[SLOT_TPM_PCRS][SHA384_SIZE];
	uint8_t policy_key[SLOT_TPM_RSA_MAX];
	size_t policy_key_size;
	const char *key_file; /* NULL: this machine; while the text is read */
};

static int unclear(struct error *err, const char *item, const char *want)
{
	error_set(err, -EINVAL, "TPM recipient: %s: %s", item, want);
	error_hint(err, "pcrs=4,7,12[,bank=sha256|sha384]; for another machine "
			"key=FILE,pcr=4:HEX,pcr=7:HEX; for signed policies policy-key=PUB.pem");
	return -EINVAL;
}

static int add_pcr(struct tpm_recipient *r, const char *number, const char *item, unsigned *ret,
		   struct error *err)
{
	uint64_t pcr;

	if (number_parse(number, 10, SLOT_TPM_PCRS - 1, &pcr) < 0)
		return unclear(err, item, "a PCR is a number from 0 to 23");
	if (RESETTABLE & UINT32_C(1) << pcr)
		return unclear(err, item, "software can reset this PCR, so it protects nothing");
	if (r->selection & UINT32_C(1) << pcr)
		return unclear(err, item, "the PCR is given twice");
	r->selection |= UINT32_C(1) << pcr;
	*ret = (unsigned)pcr;
	return 0;
}

static int add_value(struct tpm_recipient *r, char *text, struct error *err)
{
	char *hex = strchr(text, ':');
	size_t size = digest_size((enum digest_alg)r->bank);
	unsigned pcr;
	int e;

	if (!hex)
		return unclear(err, text, "pcr=NUMBER:HEX");
	*hex++ = '\0';
	e = add_pcr(r, text, text, &pcr, err);
	if (e < 0)
		return e;
	r->given |= UINT32_C(1) << pcr;
	if (strlen(hex) != 2 * size || hex_decode(hex, r->values[pcr], size) < 0)
		return unclear(err, hex, "not the value of a PCR in this bank");
	return 0;
}

static int take_item(struct tpm_recipient *r, char *item, bool *list, struct error *err)
{
	char *value = strchr(item, '=');
	unsigned pcr;

	if (!value)
		return *list ? add_pcr(r, item, item, &pcr, err)
			     : unclear(err, item, "not of the form NAME=VALUE");
	*value++ = '\0';
	*list = strcmp(item, "pcrs") == 0;
	if (*list)
		return add_pcr(r, value, value, &pcr, err);
	if (strcmp(item, "bank") == 0)
		return 0; /* read before */
	if (strcmp(item, "pcr") == 0)
		return add_value(r, value, err);
	if (strcmp(item, "policy-key") == 0 && r->policy_key_size == 0)
		return policy_key_read(value, r->policy_key, &r->policy_key_size, err);
	if (strcmp(item, "key") == 0 && !r->key_file) {
		r->key_file = value;
		return storage_key_read(value, &r->key, err);
	}
	return unclear(err, item, "unknown, or given twice");
}

/* It decides how long values are. */
static int take_bank(struct tpm_recipient *r, const char *text, struct error *err)
{
	const char *at = strstr(text, "bank=");
	size_t size;

	r->bank = DIGEST_SHA256;
	if (!at)
		return 0;
	at += strlen("bank=");
	size = strcspn(at, ",");
	if (size == strlen("sha384") && strncmp(at, "sha384", size) == 0)
		r->bank = DIGEST_SHA384;
	else if (size != strlen("sha256") || strncmp(at, "sha256", size) != 0)
		return unclear(err, "bank", "must be sha256 or sha384");
	return 0;
}

static int take_text(struct tpm_recipient *r, char *text, struct error *err)
{
	char *rest = NULL, *item = strtok_r(text, ",", &rest);
	bool list = false;
	int e = 0;

	for (; e == 0 && item; item = strtok_r(NULL, ",", &rest))
		e = take_item(r, item, &list, err);
	if (e < 0)
		return e;
	if (r->selection == 0 && r->policy_key_size == 0)
		return unclear(err, "no policy", "give PCRs or a policy key");
	if (r->key_file && r->selection != r->given)
		return unclear(err, "pcrs",
			       "this machine's PCRs are not those of the other one: "
			       "give each value with pcr=NUMBER:HEX");
	if (r->selection & UINT32_C(1) << PCR_DEFAULT)
		log_warning("PCR %u changes when a mount measures a model: nothing sealed for it "
			    "can be opened after that",
			    PCR_DEFAULT);
	return 0;
}

static int ask_tpm(struct tpm_recipient *r, const char *tcti, struct error *err)
{
	_cleanup_tpm_ struct tpm *t = NULL;
	int e = tpm_open(tcti, &t, err);

	if (e == 0)
		e = storage_key_of_tpm(t, &r->key, NULL, err);
	for (unsigned pcr = 0; e == 0 && pcr < SLOT_TPM_PCRS; pcr++)
		if (r->selection & ~r->given & UINT32_C(1) << pcr)
			e = pcr_read_selected(t, (enum digest_alg)r->bank, UINT32_C(1) << pcr,
					      r->values[pcr], err);
	return e;
}

int tpm_recipient_new(const char *text, const char *tcti, struct tpm_recipient **ret,
		      struct error *err)
{
	_cleanup_(tpm_recipient_freep) struct tpm_recipient *r = calloc(1, sizeof(*r));
	_cleanup_free_ char *copy = strdup(text);
	int e = r && copy ? take_bank(r, text, err) : -ENOMEM;

	if (e == 0)
		e = take_text(r, copy, err);
	if (e == 0 && !r->key_file)
		e = ask_tpm(r, tcti, err);
	if (e < 0)
		return e;
	r->key_file = NULL;
	*ret = steal_ptr(r);
	return 0;
}

void tpm_recipient_free(struct tpm_recipient *r)
{
	free(r);
}

bool tpm_recipient_equal(const struct tpm_recipient *a, const struct tpm_recipient *b)
{
	return memcmp(a->key.name, b->key.name, SHA256_SIZE) == 0 && a->bank == b->bank &&
	       a->selection == b->selection &&
	       memcmp(a->values, b->values, sizeof(a->values)) == 0 &&
	       a->policy_key_size == b->policy_key_size &&
	       memcmp(a->policy_key, b->policy_key, sizeof(a->policy_key)) == 0;
}

/* What is in the slot beside the wrapped key. values: room for all of them. */
static struct tpm_slot describe(const struct tpm_recipient *r, uint8_t *values)
{
	struct tpm_slot s = {.parent = r->key.name,
			     .bank = r->selection ? r->bank : 0,
			     .selection = r->selection,
			     .values = values,
			     .policy_key = r->policy_key,
			     .policy_key_size = r->policy_key_size};

	s.value_size = s.bank ? digest_size((enum digest_alg)s.bank) : 0;
	for (unsigned pcr = 0; pcr < SLOT_TPM_PCRS; pcr++)
		if (r->selection & UINT32_C(1) << pcr)
			memcpy(values + s.value_size * s.value_count++, r->values[pcr],
			       s.value_size);
	return s;
}

struct wrapped {
	uint8_t unique[SHA256_SIZE], integrity[SHA256_SIZE];
	uint8_t seed[SLOT_TPM_RSA_MAX], sensitive[SLOT_TPM_SENSITIVE_SIZE];
};

/* TPM2B_SENSITIVE; its object seed is random. */
static int make_plain(const struct secret *data_key, struct wrapped *w, uint8_t *plain)
{
	_cleanup_digest_ struct digest *d = NULL;
	int r;

	put_be16(plain, SLOT_TPM_SENSITIVE_SIZE - 2);
	put_be16(plain + 2, TPM2_ALG_KEYEDHASH);
	put_be16(plain + 4, 0);
	put_be16(plain + 6, TPM_SEED_SIZE);
	put_be16(plain + PLAIN_KEY_AT - 2, SEAL_DATA_KEY_SIZE);
	if (RAND_bytes(plain + 8, TPM_SEED_SIZE) != 1)
		return -EIO;
	memcpy(plain + PLAIN_KEY_AT, secret_data(data_key), SEAL_DATA_KEY_SIZE);
	r = digest_new(DIGEST_SHA256, &d);
	if (r == 0)
		r = digest_update(d, plain + 8, TPM_SEED_SIZE);
	if (r == 0)
		r = digest_update(d, plain + PLAIN_KEY_AT, SEAL_DATA_KEY_SIZE);
	return r < 0 ? r : digest_final(d, w->unique);
}

static int wrap(const struct storage_key *k, const uint8_t seed[TPM_SEED_SIZE],
		const uint8_t name[TPM_NAME_SIZE], const uint8_t *plain, struct wrapped *w)
{
	const struct kdf_bytes secret = {seed, TPM_SEED_SIZE}, none = {"", 0};
	const struct kdf_bytes covered[] = {{w->sensitive, sizeof(w->sensitive)},
					    {name, TPM_NAME_SIZE}};
	uint8_t key[32], iv[16] = {0};
	int r = tpm_kdfa(secret, "STORAGE", (struct kdf_bytes){name, TPM_NAME_SIZE}, key,
			 k->aes_bits / 8);

	if (r == 0)
		r = tpm_cfb(key, k->aes_bits / 8, iv, true, plain, sizeof(w->sensitive),
			    w->sensitive);
	if (r == 0)
		r = tpm_kdfa(secret, "INTEGRITY", none, key, sizeof(key));
	if (r == 0)
		r = kdf_hmac_sha256((struct kdf_bytes){key, sizeof(key)}, covered,
				    ARRAY_LEN(covered), w->integrity);
	wipe(key, sizeof(key));
	return r;
}

int tpm_recipient_slot(const struct tpm_recipient *r, const struct secret *data_key,
		       struct seal_slot *ret, struct error *err)
{
	uint8_t values[SLOT_TPM_PCRS * SHA384_SIZE];
	uint8_t seed[TPM_SEED_SIZE], public[TPM_OBJECT_PUBLIC_SIZE], name[TPM_NAME_SIZE];
	_cleanup_secret_ struct secret *plain = NULL;
	struct tpm_slot s = describe(r, values);
	struct wrapped w = {0};
	int e = secret_size(data_key) == SEAL_DATA_KEY_SIZE
			? secret_new(SLOT_TPM_SENSITIVE_SIZE, &plain)
			: -EINVAL;

	s.unique = w.unique;
	s.seed = w.seed;
	s.integrity = w.integrity;
	s.sensitive = w.sensitive;
	if (e == 0)
		e = make_plain(data_key, &w, secret_bytes(plain));
	if (e == 0)
		e = tpm_slot_object(&s, public, name);
	if (e == 0)
		e = storage_key_share(&r->key, "DUPLICATE", seed, w.seed, &s.seed_size);
	if (e == 0)
		e = wrap(&r->key, seed, name, secret_data(plain), &w);
	wipe(seed, sizeof(seed));
	if (e < 0)
		return error_set(err, e, "cannot wrap a key for a TPM: its key may be damaged");
	return slot_make_tpm(&s, ret, err);
}
