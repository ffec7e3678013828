/*
 * The NitroTPM's vendor command. Job: have the TPM replace the request in a mailbox by its answer.
 * Trusts nothing in the command's own response beyond "done": what the TPM wrote is read back in
 * the protected session, is signed by AWS, and must carry the caller's nonce and public key.
 *
 * tpm2-tss has no call for a vendor command and does not give out the key of a session that it
 * salted. So the command is built here and authorised in a session of its own whose only secret is
 * the mailbox's password, which reached the TPM encrypted (TPM 2.0 Part 1, "HMAC Computation": an
 * unsalted and unbound session has no key, the HMAC's key is the password).
 *
 * A TPM that accepts only a password for this command gets the password. An attacker who reads it
 * from the bus can write to the mailbox, but gains nothing: see above.
 */
#include "attest/mailbox.h"

#include "crypto/base/cursor.h"
#include "crypto/base/digest.h"
#include "crypto/base/log.h"
#include "crypto/kdf.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <string.h>

#define VENDOR_AWS_NSM_REQUEST 0x20000001
#define RESPONSE_MAX 4096
#define NONCE_BYTES SHA256_SIZE
#define HEADER_BYTES 10
#define AUTH_AT (HEADER_BYTES + 12) /* after two handles and the size of the authorisation */
#define COMMAND_MAX 256

struct vendor_call {
	uint8_t command[COMMAND_MAX];
	size_t size;
	ESYS_TR session;
	uint8_t nonce_caller[NONCE_BYTES];
};

static void put_bytes(struct vendor_call *c, const void *bytes, size_t size)
{
	put_be16(c->command + c->size, (uint16_t)size);
	memcpy(c->command + c->size + 2, bytes, size);
	c->size += 2 + size;
}

/* The handles and the sizes around an authorisation that was written at AUTH_AT. */
static void finish_command(struct vendor_call *c, uint32_t index)
{
	put_be16(c->command, TPM2_ST_SESSIONS);
	put_be32(c->command + 2, (uint32_t)c->size);
	put_be32(c->command + 6, VENDOR_AWS_NSM_REQUEST);
	put_be32(c->command + 10, index); /* authorised by */
	put_be32(c->command + 14, index); /* acts on */
	put_be32(c->command + 18, (uint32_t)(c->size - AUTH_AT));
}

static void begin_authorisation(struct vendor_call *c, uint32_t handle)
{
	put_be32(c->command + AUTH_AT, handle);
	c->size = AUTH_AT + 4;
}

static void build_with_password(const struct mailbox *m, struct vendor_call *c)
{
	begin_authorisation(c, TPM2_RS_PW);
	put_bytes(c, "", 0);
	c->command[c->size++] = 0;
	put_bytes(c, m->auth.buffer, m->auth.size);
	finish_command(c, m->index);
}

/* HMAC over digest, newer nonce, older nonce and attributes (Part 1, "HMAC Computation"). */
static int authorise(const struct mailbox *m, const uint8_t digest[SHA256_SIZE],
		     struct kdf_bytes newer, struct kdf_bytes older, uint8_t attributes,
		     uint8_t out[SHA256_SIZE])
{
	const struct kdf_bytes parts[] = {{digest, SHA256_SIZE}, newer, older, {&attributes, 1}};

	return kdf_hmac_sha256((struct kdf_bytes){m->auth.buffer, m->auth.size}, parts,
			       ARRAY_LEN(parts), out);
}

/* cpHash: the command's code and the names of both handles, which are the index. */
static int hash_command(const struct mailbox *m, uint8_t out[SHA256_SIZE])
{
	_cleanup_esys_ TPM2B_NAME *name = NULL;
	uint8_t bytes[4 + 2 * sizeof(TPMU_NAME)];
	size_t size;

	if (Esys_TR_GetName(m->tpm->esys, m->handle, &name) != TSS2_RC_SUCCESS ||
	    name->size > sizeof(TPMU_NAME))
		return -EIO;
	size = name->size;
	put_be32(bytes, VENDOR_AWS_NSM_REQUEST);
	memcpy(bytes + 4, name->name, size);
	memcpy(bytes + 4 + size, name->name, size);
	return digest_buffer(DIGEST_SHA256, bytes, 4 + 2 * size, out);
}

static TSS2_RC build_with_hmac(const struct mailbox *m, struct vendor_call *c)
{
	_cleanup_esys_ TPM2B_NONCE *nonce_tpm = NULL;
	uint8_t digest[SHA256_SIZE], hmac[SHA256_SIZE];
	TPM2_HANDLE handle = 0;
	TSS2_RC rc = Esys_TRSess_GetNonceTPM(m->tpm->esys, c->session, &nonce_tpm);

	if (rc == TSS2_RC_SUCCESS)
		rc = Esys_TR_GetTpmHandle(m->tpm->esys, c->session, &handle);
	if (rc != TSS2_RC_SUCCESS)
		return rc;
	/* Attributes 0: the TPM ends the session with this command. */
	if (RAND_bytes(c->nonce_caller, NONCE_BYTES) != 1 || hash_command(m, digest) < 0 ||
	    authorise(m, digest, (struct kdf_bytes){c->nonce_caller, NONCE_BYTES},
		      (struct kdf_bytes){nonce_tpm->buffer, nonce_tpm->size}, 0, hmac) < 0)
		return TSS2_ESYS_RC_GENERAL_FAILURE;
	begin_authorisation(c, handle);
	put_bytes(c, c->nonce_caller, NONCE_BYTES);
	c->command[c->size++] = 0;
	put_bytes(c, hmac, sizeof(hmac));
	finish_command(c, m->index);
	return TSS2_RC_SUCCESS;
}

/* rpHash is over the response code, which is 0, and the command's code: there are no parameters. */
static TSS2_RC check_hmac(const struct mailbox *m, const struct vendor_call *c, struct cursor *in)
{
	uint8_t head[8] = {0}, digest[SHA256_SIZE], wanted[SHA256_SIZE], attributes;
	const uint8_t *nonce, *hmac;
	size_t nonce_size, hmac_size;

	if (cursor_be32(in) != 0)
		return TSS2_TCTI_RC_MALFORMED_RESPONSE;
	nonce_size = cursor_be16(in);
	nonce = cursor_take(in, nonce_size);
	attributes = cursor_u8(in);
	hmac_size = cursor_be16(in);
	hmac = cursor_take(in, hmac_size);
	put_be32(head + 4, VENDOR_AWS_NSM_REQUEST);
	if (!cursor_done(in) || digest_buffer(DIGEST_SHA256, head, sizeof(head), digest) < 0 ||
	    authorise(m, digest, (struct kdf_bytes){nonce, nonce_size},
		      (struct kdf_bytes){c->nonce_caller, NONCE_BYTES}, attributes, wanted) < 0)
		return TSS2_TCTI_RC_MALFORMED_RESPONSE;
	return hmac_size == sizeof(wanted) && CRYPTO_memcmp(hmac, wanted, sizeof(wanted)) == 0
		       ? TSS2_RC_SUCCESS
		       : TSS2_ESYS_RC_RSP_AUTH_FAILED;
}

/* hmac: a response with sessions must carry the right one. Real ones may have none. */
static TSS2_RC send(const struct mailbox *m, const struct vendor_call *call, bool hmac)
{
	uint8_t response[RESPONSE_MAX];
	size_t size = sizeof(response);
	TSS2_RC rc = tpm_transmit(m->tpm, call->command, call->size, response, &size);
	struct cursor c = cursor_init(response, size);
	unsigned tag;

	if (rc != TSS2_RC_SUCCESS)
		return rc;
	tag = cursor_be16(&c);
	if (cursor_be32(&c) != size)
		return TSS2_TCTI_RC_MALFORMED_RESPONSE;
	rc = cursor_be32(&c);
	if (c.failed || (tag != TPM2_ST_NO_SESSIONS && tag != TPM2_ST_SESSIONS))
		return TSS2_TCTI_RC_MALFORMED_RESPONSE;
	if (rc != TSS2_RC_SUCCESS || tag == TPM2_ST_NO_SESSIONS || !hmac)
		return rc;
	return check_hmac(m, call, &c);
}

static TSS2_RC send_with_hmac(const struct mailbox *m)
{
	TPMT_SYM_DEF none = {.algorithm = TPM2_ALG_NULL};
	struct vendor_call c = {.session = ESYS_TR_NONE};
	TSS2_RC rc;

	rc = Esys_StartAuthSession(m->tpm->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
				   ESYS_TR_NONE, ESYS_TR_NONE, NULL, TPM2_SE_HMAC, &none,
				   TPM2_ALG_SHA256, &c.session);
	if (rc != TSS2_RC_SUCCESS)
		return rc;
	rc = build_with_hmac(m, &c);
	if (rc == TSS2_RC_SUCCESS)
		rc = tpm_call(send(m, &c, true));
	if (rc == TSS2_RC_SUCCESS)
		(void)Esys_TR_Close(m->tpm->esys, &c.session);
	else
		tpm_flush(m->tpm, &c.session);
	return rc;
}

/* Codes of a TPM that does not accept such a session for this command, without the number of the
 * parameter. */
static bool is_about_authorisation(TSS2_RC rc)
{
	if (!TPM_RC_FROM_TPM(rc))
		return false;
	rc = TPM_RC_BASE(rc);
	if (rc & TPM2_RC_FMT1)
		return rc & TPM2_RC_S ||
		       (rc & ~(TSS2_RC)(TPM2_RC_P | 0xf00)) == TPM2_RC_AUTH_FAIL ||
		       (rc & ~(TSS2_RC)(TPM2_RC_P | 0xf00)) == TPM2_RC_BAD_AUTH;
	return rc == TPM2_RC_AUTH_TYPE || rc == TPM2_RC_AUTHSIZE || rc == TPM2_RC_AUTH_UNAVAILABLE;
}

int mailbox_request(struct mailbox *m, struct error *err)
{
	TSS2_RC rc = send_with_hmac(m);

	if (is_about_authorisation(rc)) {
		struct vendor_call c = {.session = ESYS_TR_NONE};

		log_info("the TPM refuses an HMAC session for attestation requests (0x%x); they "
			 "are authorised with a password",
			 (unsigned)rc);
		build_with_password(m, &c);
		rc = tpm_call(send(m, &c, false));
		OPENSSL_cleanse(&c, sizeof(c));
	}
	if (rc == TSS2_RC_SUCCESS)
		return 0;
	if (TPM_RC_BASE(rc) == TPM2_RC_COMMAND_CODE) {
		tpm_fail(err, -EOPNOTSUPP, rc, "this TPM does not offer AWS attestation");
		error_hint(err, "it is not a NitroTPM, or an old one: attestation needs an EC2 "
				"instance whose AMI has NitroTPM enabled");
		return -EOPNOTSUPP;
	}
	return tpm_fail(err, -EIO, rc, "the TPM did not answer the attestation request");
}
