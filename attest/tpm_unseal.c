/*
 * Unsealing a data key. Job: everything between a slot and its key, in one connection, and a
 * sentence for each refusal. Trusts the TPM whose storage key the slot names, and no other. Must
 * never leave an object or a session in the TPM.
 */
#include "attest/tpm_unseal.h"

#include "attest/pcr.h"
#include "attest/policy_signature.h"
#include "attest/tpm_policy_session.h"
#include "attest/tpm_storage_internal.h"
#include "crypto/base/cursor.h"
#include "crypto/base/encode.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <tss2/tss2_mu.h>

#define LINE_MAX_PCR (2 * (2 * SHA384_SIZE) + 64)

/* One slot being opened. */
struct opening {
	struct tpm *t;
	const struct tpm_slot *slot;
	struct loaded_key parent;
	ESYS_TR object;
	struct policy_session session;
	uint8_t public[TPM_OBJECT_PUBLIC_SIZE], name[TPM_NAME_SIZE];
};

static int explain(struct error *err, TSS2_RC rc, const char *what)
{
	if (TPM_RC_BASE(rc) == TPM2_RC_LOCKOUT) {
		error_set(err, -EIO, "the TPM is locked out (%s): it saw too many wrong passwords",
			  what);
		error_hint(err, "wait until it recovers ('tpm2_getcap properties-variable' shows "
				"TPM2_PT_LOCKOUT_INTERVAL), or 'tpm2_dictionarylockout -c'");
		return -EIO;
	}
	return tpm_fail(err, -EIO, rc, what);
}

/* Every difference between the PCRs and what the slot wants. 0: none. */
static int compare_pcrs(const struct tpm_slot *s, const uint8_t *found, struct error *err)
{
	char now[2 * SHA384_SIZE + 1], then[2 * SHA384_SIZE + 1], text[3 * LINE_MAX_PCR] = "";
	size_t at = 0, n = 0;

	for (unsigned pcr = 0; pcr < SLOT_TPM_PCRS; pcr++) {
		const uint8_t *wanted = s->values + s->value_size * n;
		const uint8_t *got = found + s->value_size * n;
		int size;

		if (!(s->selection & UINT32_C(1) << pcr))
			continue;
		n++;
		if (memcmp(wanted, got, s->value_size) == 0)
			continue;
		hex_encode(got, s->value_size, now);
		hex_encode(wanted, s->value_size, then);
		size = snprintf(text + at, sizeof(text) - at, "%sPCR %u is %s, sealed for %s",
				at ? "; " : "", pcr, now, then);
		at = MIN(at + (size_t)(size > 0 ? size : 0), sizeof(text) - 1);
	}
	if (at == 0)
		return 0;
	error_set(err, -EKEYREJECTED,
		  "this machine is not in the state that the model is sealed "
		  "for, in bank %s: %s",
		  digest_name((enum digest_alg)s->bank), text);
	error_hint(err,
		   "PCRs change with firmware, Secure Boot settings, boot image and kernel command "
		   "line: boot what was approved, or rewrap for the new values");
	return -EKEYREJECTED;
}

static int import(struct opening *o, struct error *err)
{
	const struct tpm_slot *s = o->slot;
	TPM2B_PUBLIC public = {0};
	TPM2B_PRIVATE duplicate = {.size = 2 + SHA256_SIZE + SLOT_TPM_SENSITIVE_SIZE};
	TPM2B_ENCRYPTED_SECRET seed = {0};
	TPMT_SYM_DEF_OBJECT none = {.algorithm = TPM2_ALG_NULL};
	TPM2B_DATA no_key = {0};
	_cleanup_esys_ TPM2B_PRIVATE *private = NULL;
	size_t at = 0, half = s->seed_size / 2;
	TSS2_RC rc;

	if (Tss2_MU_TPMT_PUBLIC_Unmarshal(o->public, sizeof(o->public), &at, &public.publicArea) !=
	    TSS2_RC_SUCCESS)
		return error_set(err, -EIO, "cannot describe a sealed object");
	put_be16(duplicate.buffer, SHA256_SIZE);
	memcpy(duplicate.buffer + 2, s->integrity, SHA256_SIZE);
	memcpy(duplicate.buffer + 2 + SHA256_SIZE, s->sensitive, SLOT_TPM_SENSITIVE_SIZE);
	if (s->seed_size == SLOT_TPM_POINT_SIZE) {
		for (size_t i = 0; i < 2; i++) {
			put_be16(seed.secret + i * (half + 2), (uint16_t)half);
			memcpy(seed.secret + i * (half + 2) + 2, s->seed + i * half, half);
		}
		seed.size = SLOT_TPM_POINT_SIZE + 4;
	} else {
		memcpy(seed.secret, s->seed, s->seed_size);
		seed.size = (UINT16)s->seed_size;
	}
	rc = tpm_call(Esys_Import(o->t->esys, o->parent.handle, tpm_session(o->t, 0), ESYS_TR_NONE,
				  ESYS_TR_NONE, &no_key, &public, &duplicate, &seed, &none,
				  &private));
	if (rc == TSS2_RC_SUCCESS)
		rc = tpm_call(Esys_Load(o->t->esys, o->parent.handle, tpm_session(o->t, 0),
					ESYS_TR_NONE, ESYS_TR_NONE, private, &public, &o->object));
	if (rc == TSS2_RC_SUCCESS)
		return 0;
	o->object = ESYS_TR_NONE;
	if (!TPM_RC_FROM_TPM(rc) || TPM_RC_BASE(rc) == TPM2_RC_LOCKOUT)
		return explain(err, rc, "cannot import the sealed key");
	tpm_fail(err, -EBADMSG, rc, "the TPM does not accept the sealed key");
	error_hint(err, "the slot was altered, or made for another key of this TPM");
	return -EBADMSG;
}

/* The TPM's word that the policy key signed this policy. */
static int verify_in_tpm(struct opening *o, const struct signed_policy *p, TPMT_TK_VERIFIED **ret,
			 struct error *err)
{
	const struct tpm_slot *s = o->slot;
	TPM2B_PUBLIC public = {
		.publicArea = {
			.type = TPM2_ALG_RSA,
			.nameAlg = TPM2_ALG_SHA256,
			.objectAttributes = TPMA_OBJECT_DECRYPT | TPMA_OBJECT_SIGN_ENCRYPT |
					    TPMA_OBJECT_USERWITHAUTH,
			.parameters.rsaDetail = {.symmetric.algorithm = TPM2_ALG_NULL,
						 .scheme.scheme = TPM2_ALG_NULL,
						 .keyBits = (UINT16)(8 * s->policy_key_size)},
			.unique.rsa.size = (UINT16)s->policy_key_size}};
	TPMT_SIGNATURE signature = {.sigAlg = TPM2_ALG_RSASSA};
	TPM2B_DIGEST digest = {.size = SHA256_SIZE};
	ESYS_TR key = ESYS_TR_NONE;
	TSS2_RC rc;

	memcpy(public.publicArea.unique.rsa.buffer, s->policy_key, s->policy_key_size);
	signature.signature.rsassa.hash = TPM2_ALG_SHA256;
	signature.signature.rsassa.sig.size = (UINT16)s->policy_key_size;
	memcpy(signature.signature.rsassa.sig.buffer, p->signature, s->policy_key_size);
	if (digest_buffer(DIGEST_SHA256, p->policy, sizeof(p->policy), digest.buffer) < 0)
		return error_set(err, -EIO, "cannot hash a policy");
	rc = tpm_call(Esys_LoadExternal(o->t->esys, tpm_session(o->t, TPMA_SESSION_AUDIT),
					ESYS_TR_NONE, ESYS_TR_NONE, NULL, &public, ESYS_TR_RH_OWNER,
					&key));
	if (rc != TSS2_RC_SUCCESS)
		return explain(err, rc, "the TPM does not take the policy key");
	rc = tpm_call(Esys_VerifySignature(o->t->esys, key, tpm_session(o->t, TPMA_SESSION_AUDIT),
					   ESYS_TR_NONE, ESYS_TR_NONE, &digest, &signature, ret));
	tpm_flush(o->t, &key);
	return rc == TSS2_RC_SUCCESS
		       ? 0
		       : explain(err, rc, "the TPM does not accept the signature of the policy");
}

static int pcrs_changed(struct error *err)
{
	error_set(err, -EKEYREJECTED, "a PCR changed while the model was being unlocked");
	error_hint(err, "try again when the machine has booted");
	return -EKEYREJECTED;
}

/* PolicyPCR with the values that were read. */
static int satisfy_pcrs(struct opening *o, unsigned bank, uint32_t selection, const uint8_t *values,
			struct error *err)
{
	size_t size = digest_size((enum digest_alg)bank) * (size_t)__builtin_popcount(selection);
	uint8_t digest[SHA256_SIZE];
	TSS2_RC rc = TSS2_RC_SUCCESS;
	int r = digest_buffer(DIGEST_SHA256, values, size, digest);

	if (r == 0)
		r = policy_session_pcr(&o->session, bank, selection, digest, &rc, err);
	if (r < 0)
		return error_set(err, r, "cannot hash PCRs");
	if ((TPM_RC_BASE(rc) & 0xbf) == TPM2_RC_VALUE)
		return pcrs_changed(err);
	return rc == TSS2_RC_SUCCESS ? 0 : explain(err, rc, "the TPM does not check its PCRs");
}

static int no_policy_fits(const struct policy_signatures *all, struct error *err)
{
	char list[256] = "";
	size_t at = 0;

	for (size_t i = 0; i < all->count && at < sizeof(list) - 32; i++) {
		at += (size_t)snprintf(list + at, sizeof(list) - at, "%s%s", at ? "; " : "",
				       digest_name((enum digest_alg)all->items[i].bank));
		for (unsigned pcr = 0; pcr < SLOT_TPM_PCRS && at < sizeof(list) - 8; pcr++)
			if (all->items[i].selection & UINT32_C(1) << pcr)
				at += (size_t)snprintf(list + at, sizeof(list) - at, " %u", pcr);
	}
	error_set(err, -EKEYREJECTED,
		  "none of the %zu signed policies of %s fits the PCRs of this machine (bank and "
		  "PCRs: %s)",
		  all->count, all->path, list);
	error_hint(err,
		   "the file belongs to another image than the one that was booted, or the boot "
		   "was changed");
	return -EKEYREJECTED;
}

/* The signed policy that this machine's PCRs fulfil, or NULL; values: what they are. */
static int choose_policy(struct opening *o, const struct policy_signatures *all,
			 const struct signed_policy **ret, uint8_t *values, struct error *err)
{
	static const uint8_t zeros[SHA256_SIZE];

	for (size_t i = 0; i < all->count; i++) {
		const struct signed_policy *p = &all->items[i];
		size_t size = digest_size((enum digest_alg)p->bank) *
			      (size_t)__builtin_popcount(p->selection);
		struct error unread = {0};
		uint8_t policy[SHA256_SIZE];
		int r = pcr_read_selected(o->t, (enum digest_alg)p->bank, p->selection, values,
					  &unread);

		if (r == -EOPNOTSUPP)
			continue;
		if (r < 0)
			return error_set(err, r, "%s", unread.message);
		r = tpm_policy_pcr(zeros, p->bank, p->selection, (struct kdf_bytes){values, size},
				   policy);
		if (r < 0)
			return error_set(err, r, "cannot compute a policy");
		if (memcmp(policy, p->policy, sizeof(policy)) == 0) {
			*ret = p;
			return 0;
		}
	}
	return 0;
}

static int satisfy_signed(struct opening *o, const struct policy_signatures *all, struct error *err)
{
	uint8_t values[SLOT_TPM_PCRS * SHA384_SIZE], name[TPM_NAME_SIZE];
	const struct signed_policy *p = NULL;
	_cleanup_esys_ TPMT_TK_VERIFIED *ticket = NULL;
	TSS2_RC rc = TSS2_RC_SUCCESS;
	int r = choose_policy(o, all, &p, values, err);

	if (r < 0)
		return r;
	if (!p)
		return no_policy_fits(all, err);
	r = satisfy_pcrs(o, p->bank, p->selection, values, err);
	if (r == 0)
		r = verify_in_tpm(o, p, &ticket, err);
	if (r == 0 && tpm_policy_key_name(o->slot->policy_key, o->slot->policy_key_size, name) < 0)
		r = error_set(err, -EIO, "cannot compute the name of the policy key");
	if (r == 0)
		r = policy_session_authorize(&o->session, p->policy, name, ticket, &rc, err);
	if (r == 0 && rc != TSS2_RC_SUCCESS)
		r = explain(err, rc, "the TPM does not accept the signed policy");
	return r;
}

static int unseal(struct opening *o, struct secret **ret, struct error *err)
{
	TPM2_HANDLE handle = 0;
	TSS2_RC rc = TSS2_RC_SUCCESS;
	int r;

	if (Esys_TR_GetTpmHandle(o->t->esys, o->object, &handle) != TSS2_RC_SUCCESS)
		return error_set(err, -EIO, "the TPM's object is lost");
	r = policy_session_unseal(&o->session, handle, o->name, ret, &rc, err);
	if (r < 0 || rc == TSS2_RC_SUCCESS)
		return r;
	if (TPM_RC_BASE(rc) == TPM2_RC_PCR_CHANGED)
		return pcrs_changed(err);
	return explain(err, rc, "the TPM does not unseal the key");
}

static int open_slot(struct opening *o, const struct policy_signatures *all, struct secret **ret,
		     struct error *err)
{
	const struct tpm_slot *s = o->slot;
	uint8_t values[SLOT_TPM_PCRS * SHA384_SIZE];
	int r = tpm_storage_load(o->t, s->parent, &o->parent, err);

	if (r == 0 && s->selection)
		r = pcr_read_selected(o->t, (enum digest_alg)s->bank, s->selection, values, err);
	if (r == 0 && s->selection)
		r = compare_pcrs(s, values, err);
	if (r == 0)
		r = policy_session_start(o->t, o->parent.handle, &o->parent.key, &o->session, err);
	if (r == 0 && s->policy_key_size > 0)
		r = satisfy_signed(o, all, err);
	if (r == 0 && s->selection)
		r = satisfy_pcrs(o, s->bank, s->selection, s->values, err);
	if (r == 0)
		r = import(o, err);
	return r < 0 ? r : unseal(o, ret, err);
}

static int connect_tpm(const char *tcti, struct tpm **ret, struct error *err)
{
	struct error e = {0};
	int r = tpm_open(tcti, ret, &e);

	if (r == 0)
		return 0;
	error_set(err, r, "%s", e.message);
	if (r == -ENODEV)
		error_hint(err,
			   "it is sealed for a TPM: mount it on that machine, name the TPM with "
			   "tcti=TCTI, or have its owner rewrap it for a key file");
	else if (e.hint[0])
		error_hint(err, "%s", e.hint);
	return r;
}

static int unseal_locked(const struct tpm_unseal_options *options, const struct tpm_slot *slot,
			 struct secret **ret, struct error *err)
{
	_cleanup_(policy_signatures_clear) struct policy_signatures all = {0};
	_cleanup_tpm_ struct tpm *t = NULL;
	struct opening o = {.slot = slot, .parent.handle = ESYS_TR_NONE, .object = ESYS_TR_NONE};
	int r = tpm_slot_object(slot, o.public, o.name);

	if (r < 0)
		return error_set(err, r, "cannot describe a sealed object");
	if (slot->policy_key_size > 0)
		r = policy_signatures_load(options->signatures, slot->policy_key,
					   slot->policy_key_size, &all, err);
	if (r == 0)
		r = connect_tpm(options->tcti, &t, err);
	if (r < 0)
		return r;
	o.t = t;
	r = open_slot(&o, &all, ret, err);
	policy_session_end(&o.session);
	tpm_flush(t, &o.object);
	tpm_storage_release(t, &o.parent);
	return r;
}

int tpm_unseal(const struct tpm_unseal_options *options, const struct tpm_slot *slot,
	       struct secret **ret, struct error *err)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	sigset_t hold, before;
	int r;

	sigemptyset(&hold);
	sigaddset(&hold, SIGINT);
	sigaddset(&hold, SIGTERM);
	sigaddset(&hold, SIGHUP);
	if (pthread_sigmask(SIG_BLOCK, &hold, &before) != 0)
		return error_set(err, -EIO, "cannot hold back signals");
	pthread_mutex_lock(&lock);
	r = unseal_locked(options, slot, ret, err);
	pthread_mutex_unlock(&lock);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}
