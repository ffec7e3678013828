/*
 * tpm.h: one connection to a TPM 2.0 through tpm2-tss (ESYS), any TCTI. Files of this folder that
 * send commands include tpm_internal.h.
 *
 * Connections are opened for one job and closed at once: /dev/tpm0 has a single opener. An open
 * that finds the device busy is repeated until a deadline. Threads: one thread at a time per
 * connection. Errors: -ENODEV no TPM there, -EBUSY, -ETIMEDOUT, -EIO with the TPM response code in
 * the message.
 */
#ifndef SEALEDFS_TPM_H
#define SEALEDFS_TPM_H

#include "crypto/base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct tpm;

/*
 * tcti: a tpm2-tss TCTI string ("device:/dev/tpmrm0", "swtpm:host=127.0.0.1,port=2321"), or a Nitro
 * Secure Module (nsm.h); NULL: SEALEDFS_TCTI or TPM2TOOLS_TCTI of the environment, else
 * /dev/tpmrm0, else /dev/tpm0, else /dev/nsm.
 */
int tpm_open(const char *tcti, struct tpm **ret, struct error *err);
void tpm_close(struct tpm *t);
/* The device that tpm_open() would not find; NULL: it exists, or tcti names no device. Opens
 * nothing; points into tcti, the environment or static memory. */
const char *tpm_missing(const char *tcti);
/* What tpm_open(tcti) would open, without opening it; NULL: nothing is there. Points as above. */
const char *tpm_choose(const char *tcti);
/* True: that is a Nitro Secure Module. */
bool tpm_is_nsm(const char *tcti);

DEFINE_CLEANUP(struct tpm *, tpm_close)
#define _cleanup_tpm_ _cleanup_(tpm_closep)

#endif
