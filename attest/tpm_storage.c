/*
 * The storage key of a TPM. Job: find it, and say which one it is. Trusts the TPM's answers, which
 * the session authenticates. Must never use another key than the one that was asked for by name.
 */
#include "attest/tpm_storage_internal.h"

#include "crypto/base/cursor.h"
#include "crypto/base/encode.h"
#include "crypto/base/log.h"

#include <errno.h>
#include <string.h>
#include <tss2/tss2_mu.h>

#define NO_SUCH_HANDLE 0x18b /* TPM_RC_HANDLE for the first handle */
#define AREA_MAX 1024

static int parse(const TPM2B_PUBLIC *public, struct storage_key *ret, struct error *err)
{
	uint8_t bytes[AREA_MAX];
	size_t size = 0;

	if (Tss2_MU_TPM2B_PUBLIC_Marshal(public, bytes, sizeof(bytes), &size) != TSS2_RC_SUCCESS)
		return error_set(err, -EPROTO, "the TPM returns a public key that cannot be read");
	return storage_key_parse(bytes, size, ret, err);
}

/* -ENOENT: none there, or none that can be a recipient's. */
static int load_persistent(struct tpm *t, struct loaded_key *ret, struct error *err)
{
	_cleanup_esys_ TPM2B_PUBLIC *public = NULL;
	struct error unfit = {0};
	TSS2_RC rc;

	if (t->nsm)
		return error_set(err, -ENODEV,
				 "a Nitro Secure Module has no storage key, as a TPM has");
	rc = tpm_call(Esys_TR_FromTPMPublic(t->esys, STORAGE_KEY_HANDLE,
					    tpm_session(t, TPMA_SESSION_AUDIT), ESYS_TR_NONE,
					    ESYS_TR_NONE, &ret->handle));
	if (rc != TSS2_RC_SUCCESS) {
		ret->handle = ESYS_TR_NONE;
		return TPM_RC_BASE(rc) == NO_SUCH_HANDLE
			       ? -ENOENT
			       : tpm_fail(err, -EIO, rc, "cannot read the TPM's storage key");
	}
	ret->persistent = true;
	rc = tpm_call(Esys_ReadPublic(t->esys, ret->handle, tpm_session(t, TPMA_SESSION_AUDIT),
				      ESYS_TR_NONE, ESYS_TR_NONE, &public, NULL, NULL));
	if (rc != TSS2_RC_SUCCESS)
		return tpm_fail(err, -EIO, rc, "cannot read the TPM's storage key");
	if (parse(public, &ret->key, &unfit) == 0)
		return 0;
	log_debug("the key at 0x%08x: %s", STORAGE_KEY_HANDLE, unfit.message);
	return -ENOENT;
}

static int load_primary(struct tpm *t, bool zeros, struct loaded_key *ret, struct error *err)
{
	_cleanup_esys_ TPM2B_PUBLIC *public = NULL;
	int r = tpm_create_storage_key(t, zeros, &ret->handle, &public, err);

	ret->persistent = false;
	return r < 0 ? r : parse(public, &ret->key, err);
}

void tpm_storage_release(struct tpm *t, struct loaded_key *k)
{
	if (k->handle == ESYS_TR_NONE)
		return;
	if (k->persistent)
		(void)Esys_TR_Close(t->esys, &k->handle);
	else
		tpm_flush(t, &k->handle);
	k->handle = ESYS_TR_NONE;
}

static bool is_named(const struct loaded_key *k, const uint8_t name[SHA256_SIZE])
{
	return memcmp(k->key.name, name, SHA256_SIZE) == 0;
}

int tpm_storage_load(struct tpm *t, const uint8_t name[SHA256_SIZE], struct loaded_key *ret,
		     struct error *err)
{
	char ours[2 * SHA256_SIZE + 1] = "", theirs[2 * SHA256_SIZE + 1];
	bool persistent;
	int r;

	*ret = (struct loaded_key){.handle = ESYS_TR_NONE};
	r = load_persistent(t, ret, err);
	if (r == 0 && is_named(ret, name))
		return 0;
	persistent = r == 0;
	if (persistent)
		hex_encode(ret->key.name, SHA256_SIZE, ours);
	for (unsigned i = 0; i < 2 && (r == 0 || r == -ENOENT); i++) {
		tpm_storage_release(t, ret);
		r = load_primary(t, i == 0 ? t->zeros : !t->zeros, ret, err);
		if (r == 0 && is_named(ret, name))
			return 0;
		if (r == 0 && i == 0 && !persistent)
			hex_encode(ret->key.name, SHA256_SIZE, ours);
	}
	if (r < 0)
		return r;
	tpm_storage_release(t, ret);
	hex_encode(name, SHA256_SIZE, theirs);
	error_set(err, -ENOKEY,
		  "it is sealed for a TPM with the storage key %s, and this one has %s", theirs,
		  ours);
	error_hint(err, "mount on the machine that it is sealed for, or seal for this one: sealctl "
			"tpm-key; a TPM that was cleared has another key than before");
	return -ENOKEY;
}

int storage_key_of_tpm(struct tpm *t, struct storage_key *ret, bool *ret_persistent,
		       struct error *err)
{
	struct loaded_key k = {.handle = ESYS_TR_NONE};
	int r = load_persistent(t, &k, err);

	if (r == -ENOENT) {
		tpm_storage_release(t, &k);
		r = load_primary(t, t->zeros, &k, err);
	}
	if (r == 0)
		*ret = k.key;
	if (ret_persistent)
		*ret_persistent = k.persistent;
	tpm_storage_release(t, &k);
	return r;
}
