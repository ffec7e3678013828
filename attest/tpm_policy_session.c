/*
 * Policy sessions. Job: a session that only the named TPM can share, the policy commands, and
 * Unseal. Trusts no answer before its HMAC, and no answer without one for more than "it did not
 * work". Must never have a data key in ordinary memory.
 */
#include "attest/tpm_policy_session.h"

#include "crypto/base/cursor.h"

#include <errno.h>
#include <openssl/rand.h>
#include <string.h>

#define HEADER_SIZE 10
#define COMMAND_MAX 1024
#define RESPONSE_MAX 4096
#define AUTH_SIZE (4 + 2 + POLICY_NONCE_SIZE + 1 + 2 + SHA256_SIZE)
#define AES_KEY_SIZE 16
#define KEY_AND_IV_SIZE 32

/* A command while it is written. */
struct command {
	uint8_t bytes[COMMAND_MAX];
	size_t size;
};

static void add(struct command *c, const void *data, size_t size)
{
	memcpy(c->bytes + c->size, data, size);
	c->size += size;
}

static void add16(struct command *c, unsigned value)
{
	put_be16(c->bytes + c->size, (uint16_t)value);
	c->size += 2;
}

static void add32(struct command *c, uint32_t value)
{
	put_be32(c->bytes + c->size, value);
	c->size += 4;
}

static void add_sized(struct command *c, const void *data, size_t size)
{
	add16(c, (unsigned)size);
	add(c, data, size);
}

static void begin(struct command *c, unsigned tag, uint32_t code)
{
	c->size = 0;
	add16(c, tag);
	add32(c, 0);
	add32(c, code);
}

static int unauthentic(struct error *err)
{
	return tpm_fail(err, -EBADMSG, TSS2_ESYS_RC_RSP_AUTH_FAILED, "cannot unseal a key");
}

/* What the TPM answers, in place; *ret begins behind the header. */
static int ask(struct tpm *t, struct command *c, uint8_t response[RESPONSE_MAX], unsigned tag,
	       struct cursor *ret, TSS2_RC *ret_rc, struct error *err)
{
	struct tpm_patience patience = {0};
	size_t size;

	put_be32(c->bytes + 2, (uint32_t)c->size);
	do {
		unsigned got_tag, got_size;

		size = RESPONSE_MAX;
		*ret_rc = tpm_transmit(t, c->bytes, c->size, response, &size);
		if (*ret_rc != TSS2_RC_SUCCESS)
			return tpm_fail(err, -EIO, *ret_rc, "the TPM does not answer");
		*ret = cursor_init(response, size);
		got_tag = cursor_be16(ret);
		got_size = cursor_be32(ret);
		*ret_rc = cursor_be32(ret);
		if (ret->failed || got_size != size ||
		    got_tag != (*ret_rc ? TPM2_ST_NO_SESSIONS : tag))
			return unauthentic(err);
	} while (tpm_again(*ret_rc, &patience));
	return 0;
}

static int derive_key(struct policy_session *s, uint8_t salt[TPM_SEED_SIZE],
		      const uint8_t nonce[POLICY_NONCE_SIZE])
{
	uint8_t nonces[2 * POLICY_NONCE_SIZE];

	memcpy(nonces, s->nonce_tpm, POLICY_NONCE_SIZE);
	memcpy(nonces + POLICY_NONCE_SIZE, nonce, POLICY_NONCE_SIZE);
	return tpm_kdfa((struct kdf_bytes){salt, TPM_SEED_SIZE}, "ATH",
			(struct kdf_bytes){nonces, sizeof(nonces)}, s->key, sizeof(s->key));
}

static void add_salt(struct command *c, const uint8_t *salt, size_t size)
{
	if (size != SLOT_TPM_POINT_SIZE) {
		add_sized(c, salt, size);
		return;
	}
	add16(c, 4 + SLOT_TPM_POINT_SIZE);
	add_sized(c, salt, size / 2);
	add_sized(c, salt + size / 2, size / 2);
}

int policy_session_start(struct tpm *t, ESYS_TR loaded, const struct storage_key *key,
			 struct policy_session *s, struct error *err)
{
	uint8_t salt[TPM_SEED_SIZE], encrypted[SLOT_TPM_RSA_MAX], nonce[POLICY_NONCE_SIZE];
	uint8_t response[RESPONSE_MAX];
	TPM2_HANDLE parent = 0;
	size_t encrypted_size = 0;
	struct command c;
	struct cursor in;
	TSS2_RC rc;
	int r;

	*s = (struct policy_session){.t = t};
	if (Esys_TR_GetTpmHandle(t->esys, loaded, &parent) != TSS2_RC_SUCCESS ||
	    RAND_bytes(nonce, sizeof(nonce)) != 1)
		return error_set(err, -EIO, "cannot start a session with the TPM");
	r = storage_key_share(key, "SECRET", salt, encrypted, &encrypted_size);
	if (r < 0)
		return error_set(err, r, "cannot make a secret for the TPM's storage key");
	begin(&c, TPM2_ST_NO_SESSIONS, TPM2_CC_StartAuthSession);
	add32(&c, parent);
	add32(&c, TPM2_RH_NULL);
	add_sized(&c, nonce, sizeof(nonce));
	add_salt(&c, encrypted, encrypted_size);
	add(&c, (uint8_t[]){TPM2_SE_POLICY}, 1);
	add16(&c, TPM2_ALG_AES);
	add16(&c, 8 * AES_KEY_SIZE);
	add16(&c, TPM2_ALG_CFB);
	add16(&c, TPM2_ALG_SHA256);
	r = ask(t, &c, response, TPM2_ST_NO_SESSIONS, &in, &rc, err);
	if (r == 0 && rc != TSS2_RC_SUCCESS)
		r = tpm_fail(err, -EIO, rc, "the TPM starts no policy session");
	if (r == 0) {
		s->handle = cursor_be32(&in);
		if (cursor_be16(&in) != sizeof(s->nonce_tpm))
			in.failed = true;
		cursor_copy(&in, s->nonce_tpm, sizeof(s->nonce_tpm));
		r = cursor_done(&in) ? derive_key(s, salt, nonce) : unauthentic(err);
	}
	wipe(salt, sizeof(salt));
	return r;
}

void policy_session_end(struct policy_session *s)
{
	struct command c;
	uint8_t response[RESPONSE_MAX];
	struct cursor in;
	TSS2_RC rc;

	wipe(s->key, sizeof(s->key));
	if (!s->handle)
		return;
	begin(&c, TPM2_ST_NO_SESSIONS, TPM2_CC_FlushContext);
	add32(&c, s->handle);
	if (ask(s->t, &c, response, TPM2_ST_NO_SESSIONS, &in, &rc, NULL) < 0 &&
	    s->t->left_count < ARRAY_LEN(s->t->left))
		s->t->left[s->t->left_count++] = s->handle;
	s->handle = 0;
}

/* A command whose good answer is empty. */
static int step(struct policy_session *s, struct command *c, TSS2_RC *ret_rc, struct error *err)
{
	uint8_t response[RESPONSE_MAX];
	struct cursor in;
	int r = ask(s->t, c, response, TPM2_ST_NO_SESSIONS, &in, ret_rc, err);

	return r < 0 ? r : cursor_done(&in) ? 0 : unauthentic(err);
}

int policy_session_pcr(struct policy_session *s, unsigned bank, uint32_t selection,
		       const uint8_t digest[SHA256_SIZE], TSS2_RC *ret_rc, struct error *err)
{
	uint8_t list[TPM_SELECTION_SIZE];
	struct command c;

	tpm_pcr_selection(bank, selection, list);
	begin(&c, TPM2_ST_NO_SESSIONS, TPM2_CC_PolicyPCR);
	add32(&c, s->handle);
	add_sized(&c, digest, SHA256_SIZE);
	add(&c, list, sizeof(list));
	return step(s, &c, ret_rc, err);
}

int policy_session_authorize(struct policy_session *s, const uint8_t policy[SHA256_SIZE],
			     const uint8_t key_name[TPM_NAME_SIZE], const TPMT_TK_VERIFIED *ticket,
			     TSS2_RC *ret_rc, struct error *err)
{
	struct command c;

	begin(&c, TPM2_ST_NO_SESSIONS, TPM2_CC_PolicyAuthorize);
	add32(&c, s->handle);
	add_sized(&c, policy, SHA256_SIZE);
	add_sized(&c, "", 0);
	add_sized(&c, key_name, TPM_NAME_SIZE);
	add16(&c, ticket->tag);
	add32(&c, ticket->hierarchy);
	add_sized(&c, ticket->digest.buffer, ticket->digest.size);
	return step(s, &c, ret_rc, err);
}

/* HMAC of a command or an answer. */
static int authenticate(const struct policy_session *s, struct kdf_bytes hashed_1,
			struct kdf_bytes hashed_2, struct kdf_bytes newer, struct kdf_bytes older,
			uint8_t attributes, uint8_t out[SHA256_SIZE])
{
	_cleanup_digest_ struct digest *d = NULL;
	uint8_t hash[SHA256_SIZE];
	const struct kdf_bytes parts[] = {{hash, sizeof(hash)}, newer, older, {&attributes, 1}};
	int r = digest_new(DIGEST_SHA256, &d);

	if (r == 0)
		r = digest_update(d, hashed_1.data, hashed_1.size);
	if (r == 0)
		r = digest_update(d, hashed_2.data, hashed_2.size);
	if (r == 0)
		r = digest_final(d, hash);
	return r < 0 ? r
		     : kdf_hmac_sha256((struct kdf_bytes){s->key, sizeof(s->key)}, parts,
				       ARRAY_LEN(parts), out);
}

/* The parameters of an Unseal's answer, once its HMAC was checked. */
static int check_answer(struct policy_session *s, struct cursor *in,
			const uint8_t nonce[POLICY_NONCE_SIZE], uint8_t attributes,
			struct kdf_bytes *ret)
{
	uint8_t codes[8], hmac[SHA256_SIZE];
	uint32_t size = cursor_be32(in);
	const uint8_t *parameters = cursor_take(in, size), *theirs, *nonce_tpm;
	uint8_t echoed;
	int r;

	if (cursor_be16(in) != POLICY_NONCE_SIZE)
		return -EBADMSG;
	nonce_tpm = cursor_take(in, POLICY_NONCE_SIZE);
	echoed = cursor_u8(in);
	if (cursor_be16(in) != sizeof(hmac))
		return -EBADMSG;
	theirs = cursor_take(in, sizeof(hmac));
	if (!cursor_done(in) ||
	    (echoed | TPMA_SESSION_CONTINUESESSION) != (attributes | TPMA_SESSION_CONTINUESESSION))
		return -EBADMSG;
	put_be32(codes, TPM2_RC_SUCCESS);
	put_be32(codes + 4, TPM2_CC_Unseal);
	r = authenticate(s, (struct kdf_bytes){codes, sizeof(codes)},
			 (struct kdf_bytes){parameters, size},
			 (struct kdf_bytes){nonce_tpm, POLICY_NONCE_SIZE},
			 (struct kdf_bytes){nonce, POLICY_NONCE_SIZE}, echoed, hmac);
	if (r < 0)
		return r;
	memcpy(s->nonce_tpm, nonce_tpm, POLICY_NONCE_SIZE);
	*ret = (struct kdf_bytes){parameters, size};
	return secret_equal(hmac, theirs, sizeof(hmac)) ? 0 : -EBADMSG;
}

static int decrypt(const struct policy_session *s, const uint8_t nonce[POLICY_NONCE_SIZE],
		   struct kdf_bytes parameters, struct secret **ret)
{
	struct cursor in = cursor_init(parameters.data, parameters.size);
	uint8_t nonces[2 * POLICY_NONCE_SIZE], key[KEY_AND_IV_SIZE];
	_cleanup_secret_ struct secret *plain = NULL;
	const uint8_t *cipher;
	int r;

	if (cursor_be16(&in) != SEAL_DATA_KEY_SIZE)
		return -EBADMSG;
	cipher = cursor_take(&in, SEAL_DATA_KEY_SIZE);
	if (!cursor_done(&in))
		return -EBADMSG;
	memcpy(nonces, s->nonce_tpm, POLICY_NONCE_SIZE);
	memcpy(nonces + POLICY_NONCE_SIZE, nonce, POLICY_NONCE_SIZE);
	r = tpm_kdfa((struct kdf_bytes){s->key, sizeof(s->key)}, "CFB",
		     (struct kdf_bytes){nonces, sizeof(nonces)}, key, sizeof(key));
	if (r == 0)
		r = secret_new(SEAL_DATA_KEY_SIZE, &plain);
	if (r == 0)
		r = tpm_cfb(key, AES_KEY_SIZE, key + AES_KEY_SIZE, false, cipher,
			    SEAL_DATA_KEY_SIZE, secret_bytes(plain));
	wipe(key, sizeof(key));
	if (r == 0)
		*ret = steal_ptr(plain);
	return r;
}

int policy_session_unseal(struct policy_session *s, TPM2_HANDLE object,
			  const uint8_t name[TPM_NAME_SIZE], struct secret **ret, TSS2_RC *ret_rc,
			  struct error *err)
{
	uint8_t nonce[POLICY_NONCE_SIZE], hmac[SHA256_SIZE], response[RESPONSE_MAX], code[4];
	const uint8_t attributes = TPMA_SESSION_ENCRYPT;
	struct kdf_bytes parameters;
	struct command c;
	struct cursor in;
	int r = RAND_bytes(nonce, sizeof(nonce)) == 1 ? 0 : -EIO;

	put_be32(code, TPM2_CC_Unseal);
	if (r == 0)
		r = authenticate(s, (struct kdf_bytes){code, sizeof(code)},
				 (struct kdf_bytes){name, TPM_NAME_SIZE},
				 (struct kdf_bytes){nonce, sizeof(nonce)},
				 (struct kdf_bytes){s->nonce_tpm, sizeof(s->nonce_tpm)}, attributes,
				 hmac);
	if (r < 0)
		return error_set(err, r, "cannot compute the HMAC of a command");
	begin(&c, TPM2_ST_SESSIONS, TPM2_CC_Unseal);
	add32(&c, object);
	add32(&c, AUTH_SIZE);
	add32(&c, s->handle);
	add_sized(&c, nonce, sizeof(nonce));
	add(&c, &attributes, 1);
	add_sized(&c, hmac, sizeof(hmac));
	r = ask(s->t, &c, response, TPM2_ST_SESSIONS, &in, ret_rc, err);
	if (r < 0 || *ret_rc != TSS2_RC_SUCCESS)
		return r;
	r = check_answer(s, &in, nonce, attributes, &parameters);
	if (r == 0)
		s->handle = 0; /* it ends with its success; without, it may still be there */
	if (r == 0)
		r = decrypt(s, nonce, parameters, ret);
	return r == -EBADMSG ? unauthentic(err)
	       : r < 0	     ? error_set(err, r, "cannot decrypt the TPM's answer")
			     : 0;
}
