/*
 * tpm_priv.h: what nitrotpm.c, mailbox.c and pcr.c need of a connection and nobody else may know:
 * the ESYS and TCTI contexts, and the one way to turn a TPM response code into an error.
 */
#ifndef SEALEDFS_TPM_PRIV_H
#define SEALEDFS_TPM_PRIV_H

#include "attest/tpm.h"

#include <stdbool.h>
#include <tss2/tss2_esys.h>

struct tpm {
	TSS2_TCTI_CONTEXT *tcti;
	ESYS_CONTEXT *esys;
	char *conf; /* the TCTI string it was opened with */
};

/* The response code without the layer that reports it (TPM, resource manager). */
#define TPM_RC_BASE(rc) ((rc) & ~(TSS2_RC)TSS2_RC_LAYER_MASK)
/* False: the code comes from tpm2-tss on this side, and the connection may be unusable. */
#define TPM_RC_FROM_TPM(rc)                                \
	(((rc)&TSS2_RC_LAYER_MASK) == TSS2_TPM_RC_LAYER || \
	 ((rc)&TSS2_RC_LAYER_MASK) == TSS2_RESMGR_TPM_RC_LAYER)

/* Closes and opens again through the same TCTI, in place. After an error t can only be closed. */
int tpm_reopen(struct tpm *t, struct error *err);

/* Sets "WHAT: TPM response in words (0x…)" and returns code; -EBUSY for -EIO when the TPM said
 * "again". */
int tpm_fail(struct error *err, int code, TSS2_RC rc, const char *what);

/* How long one caller has been waiting for a TPM that says "again". Zero-initialised. */
struct tpm_patience {
	unsigned waited_ms;
	unsigned pause_ms;
};
/* True when rc asks for a repetition and there is patience left; sleeps a little before. */
bool tpm_again(TSS2_RC rc, struct tpm_patience *p);

#define tpm_call(call)                         \
	({                                     \
		struct tpm_patience _p = {0};  \
		TSS2_RC _rc;                   \
		do {                           \
			_rc = (call);          \
		} while (tpm_again(_rc, &_p)); \
		_rc;                           \
	})

static inline void esys_freep(void *p)
{
	Esys_Free(*(void **)p);
}
#define _cleanup_esys_ _cleanup_(esys_freep)

#endif
