/*
 * The protected session of a connection. Job: start one HMAC session whose key only this process
 * and the TPM know, and end it with everything that was created for it. Trusts the TPM's storage
 * key, once tpm_pin.c accepts its name; trusts nobody between here and the TPM. Must never leave an
 * object or a session in the TPM, and never go on without protection.
 *
 * How (TPM 2.0 Part 1, "Session-based authorizations"): the TPM derives its storage primary key
 * from a seed that never leaves it. A random salt is encrypted to that key, and the session's key
 * is derived from the salt. Every answer in the session carries an HMAC, which tpm2-tss checks.
 */
#include "attest/tpm_internal.h"
#include "attest/tpm_pin.h"

#include "crypto/base/cursor.h"
#include "crypto/base/digest.h"

#include <errno.h>
#include <string.h>
#include <tss2/tss2_mu.h>
#include <tss2/tss2_tctildr.h>

#define FLUSH_COMMAND_SIZE 14
#define RESPONSE_MAX 4096

/*
 * TCG TPM v2.0 Provisioning Guidance 7.5.1, ECC P-256. systemd leaves the unique field empty, the
 * guidance fills it with zeros; the two give different keys.
 */
static TPM2B_PUBLIC key_template(bool zeros)
{
	TPM2B_PUBLIC p = {
		.publicArea =
			{
				.type = TPM2_ALG_ECC,
				.nameAlg = TPM2_ALG_SHA256,
				.objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
						    TPMA_OBJECT_SENSITIVEDATAORIGIN |
						    TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA |
						    TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT,
				.parameters.eccDetail =
					{
						.symmetric = {.algorithm = TPM2_ALG_AES,
							      .keyBits.aes = 128,
							      .mode.aes = TPM2_ALG_CFB},
						.scheme.scheme = TPM2_ALG_NULL,
						.curveID = TPM2_ECC_NIST_P256,
						.kdf.scheme = TPM2_ALG_NULL,
					},
			},
	};

	if (zeros) {
		p.publicArea.unique.ecc.x.size = TPM_P256_BYTES;
		p.publicArea.unique.ecc.y.size = TPM_P256_BYTES;
	}
	return p;
}

static int marshal(const TPMT_PUBLIC *p, uint8_t out[sizeof(TPMT_PUBLIC)], size_t *ret_size)
{
	*ret_size = 0;
	return Tss2_MU_TPMT_PUBLIC_Marshal(p, out, sizeof(TPMT_PUBLIC), ret_size) == TSS2_RC_SUCCESS
		       ? 0
		       : -EIO;
}

/* The name of the returned key, if it is of the requested kind. */
static int name_of(const TPM2B_PUBLIC *got, struct tpm_key_name *ret, struct error *err)
{
	uint8_t a[sizeof(TPMT_PUBLIC)], b[sizeof(TPMT_PUBLIC)];
	TPM2B_PUBLIC wanted = key_template(false);
	size_t a_size, b_size;

	wanted.publicArea.unique = got->publicArea.unique;
	if (marshal(&got->publicArea, a, &a_size) < 0 ||
	    marshal(&wanted.publicArea, b, &b_size) < 0 || a_size != b_size ||
	    memcmp(a, b, a_size) != 0)
		return error_set(err, -EBADMSG,
				 "the TPM created a key of another kind than requested");
	if (digest_buffer(DIGEST_SHA256, a, a_size, ret->sha256) < 0)
		return error_set(err, -EIO, "cannot compute the name of the TPM's storage key");
	return 0;
}

static int refuse_key(TSS2_RC rc, struct error *err)
{
	int r = tpm_fail(err, -EIO, rc, "the TPM returns no storage key to protect the connection");

	if (TPM_RC_BASE(rc) == TPM2_RC_OBJECT_MEMORY)
		error_hint(err, "programs that died left objects in it: 'tpm2_flushcontext -t' "
				"removes them; /dev/tpmrm0 does so by itself");
	else
		error_hint(err, "sealedfs needs an ECC P-256 primary key in the owner hierarchy, "
				"which must be enabled and without a password");
	return r;
}

int tpm_create_storage_key(struct tpm *t, bool zeros, ESYS_TR *ret_key, TPM2B_PUBLIC **ret,
			   struct error *err)
{
	ESYS_TR auth = t->session == ESYS_TR_NONE ? ESYS_TR_PASSWORD : tpm_session(t, 0);
	TPM2B_PUBLIC template = key_template(zeros);
	TPM2B_SENSITIVE_CREATE sensitive = {0};
	TPM2B_DATA outside = {0};
	TPML_PCR_SELECTION pcrs = {0};
	TSS2_RC rc;

	rc = tpm_call(Esys_CreatePrimary(t->esys, ESYS_TR_RH_OWNER, auth, ESYS_TR_NONE,
					 ESYS_TR_NONE, &sensitive, &template, &outside, &pcrs,
					 ret_key, ret, NULL, NULL, NULL));
	if (rc == TSS2_RC_SUCCESS)
		return 0;
	*ret_key = ESYS_TR_NONE;
	return refuse_key(rc, err);
}

static int create_key(struct tpm *t, bool zeros, struct tpm_key_name *ret, struct error *err)
{
	_cleanup_esys_ TPM2B_PUBLIC *public = NULL;
	int r = tpm_create_storage_key(t, zeros, &t->key, &public, err);

	t->zeros = zeros;
	return r < 0 ? r : name_of(public, ret, err);
}

TSS2_RC tpm_transmit(struct tpm *t, const uint8_t *command, size_t size, uint8_t *response,
		     size_t *response_size)
{
	TSS2_RC rc = Tss2_Tcti_Transmit(t->tcti, size, command);

	if (rc != TSS2_RC_SUCCESS)
		return rc;
	return Tss2_Tcti_Receive(t->tcti, response_size, response, TSS2_TCTI_TIMEOUT_BLOCK);
}

static bool flush_handle(struct tpm *t, TPM2_HANDLE handle)
{
	uint8_t command[FLUSH_COMMAND_SIZE], response[RESPONSE_MAX];
	size_t size = sizeof(response);

	put_be16(command, TPM2_ST_NO_SESSIONS);
	put_be32(command + 2, FLUSH_COMMAND_SIZE);
	put_be32(command + 6, TPM2_CC_FlushContext);
	put_be32(command + 10, handle);
	return tpm_transmit(t, command, sizeof(command), response, &size) == TSS2_RC_SUCCESS;
}

/* 0 (never a transient object or a session): ESYS does not know the object. */
static TPM2_HANDLE handle_of(struct tpm *t, ESYS_TR object)
{
	TPM2_HANDLE handle = 0;

	return Esys_TR_GetTpmHandle(t->esys, object, &handle) == TSS2_RC_SUCCESS ? handle : 0;
}

/* Without ESYS, which takes no further command after an answer that failed its check. */
void tpm_flush(struct tpm *t, ESYS_TR *object)
{
	TPM2_HANDLE handle = *object == ESYS_TR_NONE ? 0 : handle_of(t, *object);

	if (*object == ESYS_TR_NONE)
		return;
	if (handle && !flush_handle(t, handle) && t->left_count < ARRAY_LEN(t->left))
		t->left[t->left_count++] = handle;
	(void)Esys_TR_Close(t->esys, object);
	*object = ESYS_TR_NONE;
}

void tpm_flush_left(struct tpm *t)
{
	if (t->left_count == 0 || Tss2_TctiLdr_Initialize(t->conf, &t->tcti) != TSS2_RC_SUCCESS)
		return;
	while (t->left_count > 0)
		(void)flush_handle(t, t->left[--t->left_count]);
	Tss2_TctiLdr_Finalize(&t->tcti);
}

/* Creates the storage key and checks its name. */
static int load_key(struct tpm *t, struct error *err)
{
	struct tpm_key_name name;
	int r = create_key(t, false, &name, err);

	if (r == 0 && tpm_anchor_check(t->conf, &name) == -EKEYREJECTED) {
		tpm_flush(t, &t->key);
		r = create_key(t, true, &name, err);
		if (r == 0 && tpm_anchor_check(t->conf, &name) == -EKEYREJECTED)
			r = tpm_anchor_refuse(t->conf, err);
	}
	return r < 0 ? r : tpm_pin_check(t->conf, &name, err);
}

static int start(struct tpm *t, struct error *err)
{
	TPMT_SYM_DEF aes = {
		.algorithm = TPM2_ALG_AES, .keyBits.aes = 128, .mode.aes = TPM2_ALG_CFB};
	TSS2_RC rc;

	rc = tpm_call(Esys_StartAuthSession(t->esys, t->key, ESYS_TR_NONE, ESYS_TR_NONE,
					    ESYS_TR_NONE, ESYS_TR_NONE, NULL, TPM2_SE_HMAC, &aes,
					    TPM2_ALG_SHA256, &t->session));
	if (rc == TSS2_RC_SUCCESS)
		return 0;
	t->session = ESYS_TR_NONE;
	tpm_fail(err, -EIO, rc, "the TPM starts no session to protect the connection");
	if (TPM_RC_BASE(rc) == TPM2_RC_SESSION_MEMORY || TPM_RC_BASE(rc) == TPM2_RC_SESSION_HANDLES)
		error_hint(err, "programs that died left sessions in it: 'tpm2_flushcontext -l' "
				"removes them; /dev/tpmrm0 does so by itself");
	return -EIO;
}

int tpm_session_start(struct tpm *t, struct error *err)
{
	int r = load_key(t, err);

	if (r == 0)
		r = start(t, err);
	tpm_flush(t, &t->key);
	return r;
}

void tpm_session_end(struct tpm *t)
{
	tpm_flush(t, &t->session);
}

ESYS_TR tpm_session(struct tpm *t, TPMA_SESSION attributes)
{
	if (Esys_TRSess_SetAttributes(t->esys, t->session,
				      attributes | TPMA_SESSION_CONTINUESESSION,
				      0xff) != TSS2_RC_SUCCESS)
		return ESYS_TR_NONE;
	return t->session;
}
