/*
 * tpm_recipient.h: a TPM as a recipient: what sealctl's option --tpm says, and slots for it. Slots
 * are made without a TPM; only a recipient that is this machine is asked once, for its key and its
 * PCRs.
 *
 *   pcrs=4,7,12[,bank=sha384]              this machine's TPM, with the values of now
 *   key=FILE,pcr=4:HEX,pcr=7:HEX           another one, by its storage key (sealctl tpm-key)
 *   policy-key=PUB.pem                     signed policies; with or without PCRs
 */
#ifndef SEALEDFS_TPM_RECIPIENT_H
#define SEALEDFS_TPM_RECIPIENT_H

#include "attest/tpm_secret.h"

struct tpm_recipient;

/* tcti: see tpm_open(). -EINVAL: the text is not understood; errors of TPM, files and keys. */
int tpm_recipient_new(const char *text, const char *tcti, struct tpm_recipient **ret,
		      struct error *err);
void tpm_recipient_free(struct tpm_recipient *r);
/* The same TPM with the same policy. */
bool tpm_recipient_equal(const struct tpm_recipient *a, const struct tpm_recipient *b);
/* A slot for data_key. */
int tpm_recipient_slot(const struct tpm_recipient *r, const struct secret *data_key,
		       struct seal_slot *ret, struct error *err);

DEFINE_CLEANUP(struct tpm_recipient *, tpm_recipient_free)

#endif
