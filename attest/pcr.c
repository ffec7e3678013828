/*
 * PCR banks. Job: read and extend one PCR in every bank that the TPM keeps for it, in the
 * connection's session. Trusts the TPM, but not that a command had an effect: extending a bank that
 * is not allocated succeeds and does nothing, so callers read the PCR back. Must never leave an
 * active bank out.
 */
#include "attest/pcr.h"

#include "attest/nsm.h"
#include "attest/tpm_internal.h"

#include <errno.h>
#include <string.h>

#define NSM_USERSPACE_PCR_MIN 16
#define USERSPACE_PCR_MAX 15 /* 16 and 23 can be reset by software, 17-22 belong to DRTM */

bool pcr_is_allowed(unsigned pcr)
{
	return pcr <= USERSPACE_PCR_MAX;
}

bool pcr_is_allowed_nsm(unsigned pcr)
{
	return pcr >= NSM_USERSPACE_PCR_MIN && pcr < PCR_COUNT;
}

bool pcr_values_equal(const struct pcr_values *a, const struct pcr_values *b)
{
	if (a->pcr != b->pcr || a->bank_count != b->bank_count)
		return false;
	for (size_t n = 0; n < a->bank_count; n++)
		if (a->banks[n].alg != b->banks[n].alg ||
		    memcmp(a->banks[n].value, b->banks[n].value, digest_size(a->banks[n].alg)) != 0)
			return false;
	return true;
}

bool pcr_values_zero(const struct pcr_values *v)
{
	static const uint8_t zeros[DIGEST_SIZE_MAX];

	for (size_t n = 0; n < v->bank_count; n++)
		if (memcmp(v->banks[n].value, zeros, digest_size(v->banks[n].alg)) != 0)
			return false;
	return true;
}

static void select_pcr(TPMS_PCR_SELECTION *s, unsigned alg, unsigned pcr)
{
	*s = (TPMS_PCR_SELECTION){.hash = (TPMI_ALG_HASH)alg, .sizeofSelect = 3};
	s->pcrSelect[pcr / 8] = (BYTE)(1u << (pcr % 8));
}

static bool is_selected(const TPMS_PCR_SELECTION *s, unsigned pcr)
{
	return pcr / 8 < s->sizeofSelect && pcr / 8 < sizeof(s->pcrSelect) &&
	       (s->pcrSelect[pcr / 8] & (1u << (pcr % 8)));
}

static int add_bank(struct pcr_values *v, unsigned alg, struct error *err)
{
	size_t at = v->bank_count;

	if (digest_size((enum digest_alg)alg) == 0 || at == PCR_BANKS_MAX) {
		error_set(err, -EOPNOTSUPP,
			  "the TPM has an active PCR bank 0x%04x, which sealedfs cannot compute",
			  alg);
		error_hint(err, "deactivate it (tpm2_pcrallocate), so that no bank is left out");
		return -EOPNOTSUPP;
	}
	while (at > 0 && (unsigned)v->banks[at - 1].alg > alg) {
		v->banks[at] = v->banks[at - 1];
		at--;
	}
	v->banks[at] = (struct pcr_bank_value){.alg = (enum digest_alg)alg};
	v->bank_count++;
	return 0;
}

static int active_banks(struct tpm *t, unsigned pcr, struct pcr_values *ret, struct error *err)
{
	_cleanup_esys_ TPMS_CAPABILITY_DATA *data = NULL;
	struct pcr_values v = {.pcr = pcr};
	const TPML_PCR_SELECTION *list;
	TSS2_RC rc;

	rc = tpm_call(Esys_GetCapability(t->esys, tpm_session(t, TPMA_SESSION_AUDIT), ESYS_TR_NONE,
					 ESYS_TR_NONE, TPM2_CAP_PCRS, 0, 1, NULL, &data));
	if (rc != TSS2_RC_SUCCESS)
		return tpm_fail(err, -EIO, rc, "cannot ask the TPM for its PCR banks");
	list = &data->data.assignedPCR;
	for (UINT32 n = 0; n < list->count && n < TPM2_NUM_PCR_BANKS; n++) {
		int r = 0;

		if (is_selected(&list->pcrSelections[n], pcr))
			r = add_bank(&v, list->pcrSelections[n].hash, err);
		if (r < 0)
			return r;
	}
	if (v.bank_count == 0)
		return error_set(err, -EOPNOTSUPP, "the TPM has no active bank for PCR %u", pcr);
	*ret = v;
	return 0;
}

/* One PCR_Read of the banks whose bit is set in wanted; clears the bits of those that came. */
static int read_banks(struct tpm *t, struct pcr_values *v, unsigned *wanted, struct error *err)
{
	_cleanup_esys_ TPML_PCR_SELECTION *got = NULL;
	_cleanup_esys_ TPML_DIGEST *digests = NULL;
	TPML_PCR_SELECTION ask = {0};
	unsigned before = *wanted;
	UINT32 taken = 0;
	TSS2_RC rc;

	for (size_t n = 0; n < v->bank_count; n++)
		if (*wanted & (1u << n))
			select_pcr(&ask.pcrSelections[ask.count++], v->banks[n].alg, v->pcr);
	rc = tpm_call(Esys_PCR_Read(t->esys, tpm_session(t, TPMA_SESSION_AUDIT), ESYS_TR_NONE,
				    ESYS_TR_NONE, &ask, NULL, &got, &digests));
	if (rc != TSS2_RC_SUCCESS)
		return tpm_fail(err, -EIO, rc, "cannot read a PCR");
	for (UINT32 s = 0; s < got->count && s < TPM2_NUM_PCR_BANKS; s++) {
		const TPMS_PCR_SELECTION *sel = &got->pcrSelections[s];

		if (!is_selected(sel, v->pcr))
			continue;
		for (size_t n = 0; n < v->bank_count; n++) {
			size_t size = digest_size(v->banks[n].alg);

			if (v->banks[n].alg != (enum digest_alg)sel->hash ||
			    taken >= digests->count)
				continue;
			if (digests->digests[taken].size != size)
				return error_set(err, -EIO,
						 "the TPM returned a PCR of the wrong size");
			memcpy(v->banks[n].value, digests->digests[taken].buffer, size);
			*wanted &= ~(1u << n);
		}
		taken++;
	}
	if (*wanted == before)
		return error_set(err, -EIO, "the TPM does not return the value of PCR %u", v->pcr);
	return 0;
}

int pcr_read(struct tpm *t, unsigned pcr, struct pcr_values *ret, struct error *err)
{
	struct pcr_values v = {0};
	unsigned wanted;
	int r;

	if (t->nsm) {
		*ret = (struct pcr_values){.pcr = pcr, .bank_count = 1};
		ret->banks[0].alg = DIGEST_SHA384;
		return nsm_pcr_read(t->conf, pcr, ret->banks[0].value, NULL, err);
	}
	if (pcr >= TPM_PCR_COUNT)
		return error_set(err, -EINVAL, "there is no PCR %u", pcr);
	r = active_banks(t, pcr, &v, err);
	if (r < 0)
		return r;
	wanted = (1u << v.bank_count) - 1;
	while (wanted) {
		r = read_banks(t, &v, &wanted, err);
		if (r < 0)
			return r;
	}
	*ret = v;
	return 0;
}

int pcr_read_selected(struct tpm *t, enum digest_alg bank, uint32_t selection, uint8_t *out,
		      struct error *err)
{
	size_t size = digest_size(bank);

	for (unsigned pcr = 0; pcr < TPM_PCR_COUNT; pcr++) {
		_cleanup_esys_ TPML_DIGEST *digests = NULL;
		TPML_PCR_SELECTION ask = {.count = 1};
		TSS2_RC rc;

		if (!(selection & UINT32_C(1) << pcr))
			continue;
		select_pcr(&ask.pcrSelections[0], bank, pcr);
		rc = tpm_call(Esys_PCR_Read(t->esys, tpm_session(t, TPMA_SESSION_AUDIT),
					    ESYS_TR_NONE, ESYS_TR_NONE, &ask, NULL, NULL,
					    &digests));
		if (rc != TSS2_RC_SUCCESS)
			return tpm_fail(err, -EIO, rc, "cannot read a PCR");
		if (digests->count != 1 || digests->digests[0].size != size) {
			error_set(err, -EOPNOTSUPP, "the TPM keeps no PCR %u in the bank %s", pcr,
				  digest_name(bank));
			error_hint(err, "tpm2_getcap pcrs shows its banks, tpm2_pcrallocate "
					"changes them");
			return -EOPNOTSUPP;
		}
		memcpy(out, digests->digests[0].buffer, size);
		out += size;
	}
	return 0;
}

int pcr_extend(struct tpm *t, const struct pcr_values *digests, struct error *err)
{
	TPML_DIGEST_VALUES values = {.count = (UINT32)digests->bank_count};
	TSS2_RC rc;

	if (!(t->nsm ? pcr_is_allowed_nsm(digests->pcr) : pcr_is_allowed(digests->pcr)))
		return error_set(err, -EINVAL, "PCR %u is not for measuring models", digests->pcr);
	if (t->nsm)
		return digests->bank_count == 1 && digests->banks[0].alg == DIGEST_SHA384
			       ? nsm_pcr_extend(t->conf, digests->pcr, digests->banks[0].value, err)
			       : -EINVAL;
	for (size_t n = 0; n < digests->bank_count; n++) {
		values.digests[n].hashAlg = (TPMI_ALG_HASH)digests->banks[n].alg;
		memcpy(&values.digests[n].digest, digests->banks[n].value,
		       digest_size(digests->banks[n].alg));
	}
	rc = tpm_call(Esys_PCR_Extend(t->esys, ESYS_TR_PCR0 + digests->pcr, tpm_session(t, 0),
				      ESYS_TR_NONE, ESYS_TR_NONE, &values));
	if (rc != TSS2_RC_SUCCESS) {
		char what[64];

		(void)snprintf(what, sizeof(what), "the TPM did not extend PCR %u", digests->pcr);
		return tpm_fail(err, -EIO, rc, what);
	}
	return 0;
}
