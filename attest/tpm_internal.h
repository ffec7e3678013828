/*
 * tpm_internal.h: a connection as the files that send TPM commands see it: the ESYS and TCTI
 * contexts, the session that protects the connection, and errors from TPM response codes. Only
 * files in attest/ include it.
 */
#ifndef SEALEDFS_TPM_INTERNAL_H
#define SEALEDFS_TPM_INTERNAL_H

#include "attest/tpm.h"

#include <stdbool.h>
#include <tss2/tss2_esys.h>

struct tpm {
	TSS2_TCTI_CONTEXT *tcti;
	ESYS_CONTEXT *esys;
	char *conf;	     /* the TCTI string it was opened with */
	bool nsm;	     /* it is a Nitro Secure Module: all but conf is empty */
	ESYS_TR key;	     /* the storage key, while the session starts */
	bool zeros;	     /* the unique field of its template */
	ESYS_TR session;     /* see tpm_session() */
	TPM2_HANDLE left[4]; /* what could not be removed from the TPM: the connection broke */
	size_t left_count;
};

/* The response code without the layer that reports it (TPM, resource manager). */
#define TPM_RC_BASE(rc) ((rc) & ~(TSS2_RC)TSS2_RC_LAYER_MASK)
/* False: the code comes from tpm2-tss on this side, and the connection may be unusable. */
#define TPM_RC_FROM_TPM(rc)                                \
	(((rc)&TSS2_RC_LAYER_MASK) == TSS2_TPM_RC_LAYER || \
	 ((rc)&TSS2_RC_LAYER_MASK) == TSS2_RESMGR_TPM_RC_LAYER)

/* Closes and opens again through the same TCTI, in place. After an error t can only be closed. */
int tpm_reopen(struct tpm *t, struct error *err);

/* Called by tpm_open() and tpm_close(). -EKEYREJECTED: another TPM than before; -EIO. */
int tpm_session_start(struct tpm *t, struct error *err);
void tpm_session_end(struct tpm *t);
/*
 * The connection's session, for one command: as authorisation, or with TPMA_SESSION_AUDIT for a
 * command without one. Answers are checked in either case. TPMA_SESSION_DECRYPT encrypts the
 * command's first parameter on the bus, TPMA_SESSION_ENCRYPT the answer's; both must be sized
 * buffers.
 */
ESYS_TR tpm_session(struct tpm *t, TPMA_SESSION attributes);
/*
 * The ECC P-256 primary key of the owner hierarchy; zeros: with a unique field of zeros. The caller
 * flushes *ret_key and frees *ret.
 */
int tpm_create_storage_key(struct tpm *t, bool zeros, ESYS_TR *ret_key, TPM2B_PUBLIC **ret,
			   struct error *err);
/* Removes a transient object or a session from the TPM; *object becomes ESYS_TR_NONE. */
void tpm_flush(struct tpm *t, ESYS_TR *object);
/* After the connection was closed: removes its leftovers, through another one. */
void tpm_flush_left(struct tpm *t);
/* One command without ESYS. *response_size: room, then bytes. */
TSS2_RC tpm_transmit(struct tpm *t, const uint8_t *command, size_t size, uint8_t *response,
		     size_t *response_size);
#define TPM_P256_BYTES 32

/* Sets "WHAT: TPM response in words (0x…)" and returns code; for -EIO: -EBUSY when the
 * TPM said "again", -EBADMSG when the answer is not the TPM's. */
int tpm_fail(struct error *err, int code, TSS2_RC rc, const char *what);

/* How long one caller has waited for a TPM that returns a retry code. Zero-initialised. */
struct tpm_patience {
	unsigned waited_ms;
	unsigned pause_ms;
};
/* True if rc asks for a retry and time is left; sleeps before it returns. */
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
