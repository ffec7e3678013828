/*
 * nitrotpm.h: the provider "nitrotpm": an attestation document from EC2's virtual TPM.
 */
#ifndef SEALEDFS_NITROTPM_H
#define SEALEDFS_NITROTPM_H

#include "attest/provider.h"

/*
 * One whole exchange: lock, connect, mailbox, request, response, clean up. The document is not
 * parsed. SIGINT, SIGTERM and SIGHUP wait until it is over, so that no mailbox stays behind.
 */
int nitrotpm_attest(const char *tcti, const struct attest_request *req, uint8_t **ret,
		    size_t *ret_size, struct error *err);

#endif
