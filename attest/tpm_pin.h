/*
 * tpm_pin.h: checks that the TPM is the one that answered before. A TPM is recognised by the name
 * of its storage primary key (TPM 2.0 Part 1, "Names": the hash of the public area), which nobody
 * else can use.
 *
 * Two sources. The pin: the first name since boot, in this process's memory and in
 * $RUNTIME_DIR/tpm-key-XXXXXXXX (X: which TPM). The anchor: the public key that systemd-tpm2-setup
 * recorded for the machine's own TPM. Without an anchor the first use is trusted.
 *
 * conf: the TCTI string that was opened. Threads: any.
 */
#ifndef SEALEDFS_TPM_PIN_H
#define SEALEDFS_TPM_PIN_H

#include "crypto/base/error.h"

#include <stdint.h>

struct tpm_key_name {
	uint8_t sha256[32];
};

/* Compares with the pin, or creates it. -EKEYREJECTED: another TPM. */
int tpm_pin_check(const char *conf, const struct tpm_key_name *name, struct error *err);

/* 0: the same, or systemd recorded nothing that can be compared. -EKEYREJECTED: another key. */
int tpm_anchor_check(const char *conf, const struct tpm_key_name *name);
/* Sets the error of a key that is not systemd's; returns -EKEYREJECTED. */
int tpm_anchor_refuse(const char *conf, struct error *err);

#endif
