/*
 * Unlocking. Job: find the slot that can be opened with what is at hand, cheapest first, and say
 * clearly why none could. Trusts no slot: whatever a recipient returns must fit the seal's
 * commitment. Must never log or keep a data key.
 */
#include "fs/unlock/unlock.h"

#include "crypto/base/encode.h"
#include "crypto/base/log.h"
#include "crypto/failure.h"
#include "fs/net/kms.h"
#include "fs/unlock/kms_recipient.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <string.h>

#define SECURE_HEAP_SIZE ((size_t)256 * 1024) /* for the RSA keys of a few unlocks at once */
#define SECURE_HEAP_MIN 32
#define RECIPIENTS_TEXT_MAX 480 /* fits the detail of seal_fail() */
#define WHERE_MAX (SLOT_KMS_ARN_MAX + 32)

struct unlock {
	struct aws *aws;
	struct attest_provider *provider;
	struct keyfile **keyfiles;
	size_t keyfile_count;
};

/* One seal being opened: what was tried, and the failure that says most. */
struct attempt {
	struct unlock *u;
	const struct seal *seal;
	const char *name;
	unsigned tried;
	struct error worst;
};

/* OpenSSL then keeps the private parts of RSA keys in locked pages that are not dumped. */
static void make_secure_heap(void)
{
	if (CRYPTO_secure_malloc_init(SECURE_HEAP_SIZE, SECURE_HEAP_MIN) == 0)
		log_debug("no locked memory for RSA keys");
}

int unlock_new(const struct unlock_options *options, struct unlock **ret, struct error *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	_cleanup_(unlock_freep) struct unlock *u = calloc(1, sizeof(*u));

	(void)pthread_once(&once, make_secure_heap);
	if (!u)
		return error_set(err, -ENOMEM, "out of memory");
	u->aws = options->aws;
	u->provider = options->provider;
	u->keyfiles = calloc(options->keyfile_count + 1, sizeof(struct keyfile *));
	if (!u->keyfiles)
		return error_set(err, -ENOMEM, "out of memory");
	for (size_t n = 0; n < options->keyfile_count; n++) {
		int e = keyfile_load(options->keyfiles[n], &u->keyfiles[n], err);

		if (e < 0)
			return e;
		u->keyfile_count++;
	}
	*ret = steal_ptr(u);
	return 0;
}

void unlock_free(struct unlock *u)
{
	if (!u)
		return;
	for (size_t n = 0; n < u->keyfile_count; n++)
		keyfile_free(u->keyfiles[n]);
	free(u->keyfiles);
	free(u);
}

/* Of several failures: evidence of tampering, then what a retry may cure, then a refusal. */
static int weight(int code)
{
	switch (code) {
	case -EBADMSG:
	case -EPROTO:
		return 4;
	case -EKEYREJECTED:
		return 1;
	default:
		return error_exit_code(code) == EXIT_CODE_UNREACHABLE ? 3 : 2;
	}
}

static void failed(struct attempt *a, const struct error *err, int code)
{
	struct error one = *err;

	error_set(&one, code, "%s", strerror(-code));
	log_debug("%s: %s", a->name, one.message);
	if (a->worst.code == 0 || weight(one.code) > weight(a->worst.code))
		a->worst = one;
}

/* 0 when the key is this seal's, and *ret owns it; else it is freed. */
static int take_if_fits(struct attempt *a, struct secret *key, const char *where,
			struct secret **ret, struct error *err)
{
	if (seal_key_fits(a->seal, key)) {
		*ret = key;
		return 0;
	}
	secret_free(key);
	error_hint(err, "the seal's slots were altered, or it was put together from two seals");
	return seal_fail(err, SEAL_WRONG_KEY, a->name, "%s holds a key that is not this seal's",
			 where);
}

static int try_keyfiles(struct attempt *a, unsigned index, const struct seal_slot *slot,
			struct secret **ret)
{
	char where[WHERE_MAX];

	(void)snprintf(where, sizeof(where), "slot %u (key file)", index);
	for (size_t n = 0; n < a->u->keyfile_count; n++) {
		struct secret *key = NULL;
		struct error err = {0};
		int e = slot_open_keyfile(slot, a->u->keyfiles[n], seal_core(a->seal)->file_id,
					  &key);

		if (e == -ENOKEY)
			continue;
		a->tried++;
		if (e == 0)
			e = take_if_fits(a, key, where, ret, &err);
		else if (e == -EBADMSG)
			e = seal_fail(&err, SEAL_WRONG_KEY, a->name,
				      "%s was not wrapped for this file by this key file", where);
		else
			error_set(&err, e, "%s: %s: %s", a->name, where, strerror(-e));
		if (e == 0)
			return 0;
		failed(a, &err, e);
	}
	return -ENOKEY;
}

static int try_kms(struct attempt *a, unsigned index, const struct seal_slot *slot,
		   struct secret **ret)
{
	const uint8_t *file_id = seal_core(a->seal)->file_id;
	struct secret *key = NULL;
	struct error err = {0};
	char where[WHERE_MAX];
	struct kms_slot kms = {0};
	int e;

	a->tried++;
	e = slot_parse_kms(slot, &kms, &err);
	if (e == 0 && a->u->provider)
		e = kms_recipient_decrypt(a->u->aws, a->u->provider, &kms, file_id, &key, &err);
	else if (e == 0)
		e = kms_decrypt(a->u->aws, kms.arn, file_id, kms.blob, kms.blob_size, &key, &err);
	(void)snprintf(where, sizeof(where), "slot %u (%s)", index, kms.arn);
	if (e < 0)
		error_prefix(&err, e, "%s: %s", a->name, where);
	else
		e = take_if_fits(a, key, where, ret, &err);
	if (e == 0)
		return 0;
	failed(a, &err, e);
	return e;
}

static void describe_slot(const struct seal_slot *slot, char *out, size_t size)
{
	char id[2 * SLOT_KEYFILE_ID_SIZE + 1];
	const uint8_t *keyfile;
	struct kms_slot kms;

	switch (slot->type) {
	case SEAL_SLOT_KMS:
		if (slot_parse_kms(slot, &kms, NULL) == 0)
			(void)snprintf(out, size, "KMS key %s", kms.arn);
		else
			(void)snprintf(out, size, "a malformed KMS slot");
		return;
	case SEAL_SLOT_KEYFILE:
		keyfile = slot_keyfile_id(slot);
		hex_encode(keyfile ? keyfile : (const uint8_t *)"", keyfile ? sizeof(id) / 2 : 0,
			   id);
		(void)snprintf(out, size, "key file %s", id);
		return;
	case SEAL_SLOT_TPM2:
		(void)snprintf(out, size, "a TPM (not opened by this version)");
		return;
	default:
		(void)snprintf(out, size, "a recipient of unknown type %u", slot->type);
	}
}

static int no_means(const struct attempt *a, struct error *err)
{
	char text[RECIPIENTS_TEXT_MAX] = "";
	size_t at = 0;
	bool has_kms = false;

	for (unsigned n = 0; n < seal_slot_count(a->seal); n++) {
		const struct seal_slot *slot = seal_slot(a->seal, n);
		char one[SLOT_KMS_ARN_MAX + 32];
		int written;

		describe_slot(slot, one, sizeof(one));
		has_kms |= slot->type == SEAL_SLOT_KMS;
		written = snprintf(text + at, sizeof(text) - at, "%s%s", at ? ", " : "", one);
		if (written < 0 || (size_t)written >= sizeof(text) - at)
			break;
		at += (size_t)written;
	}
	seal_fail(err, SEAL_NO_RECIPIENT, a->name, "it is sealed for %s", text);
	error_hint(err, has_kms ? "give one of its key files, or an AWS region and credentials "
				  "for KMS"
				: "give one of its key files");
	return -ENOKEY;
}

static bool is_usable(const struct attempt *a, const struct seal_slot *slot, unsigned type)
{
	return slot->type == type && (type != SEAL_SLOT_KMS || a->u->aws);
}

int unlock_data_key(struct unlock *u, const struct seal *seal, const char *name,
		    struct secret **ret, struct error *err)
{
	struct attempt a = {.u = u, .seal = seal, .name = name};

	for (unsigned n = 0; n < seal_slot_count(seal); n++)
		if (is_usable(&a, seal_slot(seal, n), SEAL_SLOT_KEYFILE) &&
		    try_keyfiles(&a, n, seal_slot(seal, n), ret) == 0)
			return 0;
	for (unsigned n = 0; n < seal_slot_count(seal); n++)
		if (is_usable(&a, seal_slot(seal, n), SEAL_SLOT_KMS) &&
		    try_kms(&a, n, seal_slot(seal, n), ret) == 0)
			return 0;
	if (a.tried == 0)
		return no_means(&a, err);
	if (err && !err->code)
		*err = a.worst;
	return a.worst.code;
}
