/*
 * nsm.h: the Nitro Secure Module of a Nitro Enclave, which attests and keeps PCRs there as a
 * NitroTPM does on an instance. Sources: aws-nitro-enclaves-nsm-api; Linux
 * include/uapi/linux/nsm.h.
 *
 * Where a TCTI is expected, "nsm" is /dev/nsm, "nsm:PATH" another device, and "nsm:unix:PATH" a
 * program that answers as the device does: a socket of type SOCK_SEQPACKET, one message for each
 * request and response. tpm_open() and attest_document() know these.
 *
 * It has PCRs 0 to 31 of SHA-384 only. 0 to 15 are the enclave's image and are locked. Errors:
 * -ENODEV no such module; -EPROTO its answer makes no sense; -EKEYREJECTED the PCR is locked;
 * -EOPNOTSUPP, -EIO. Thread-safe: each call is one exchange.
 */
#ifndef SEALEDFS_NSM_H
#define SEALEDFS_NSM_H

#include "crypto/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NSM_PCR_COUNT 32
#define NSM_PCR_SIZE 48	       /* SHA-384 */
#define NSM_RESPONSE_MAX 12288 /* 0x3000, as the device has it */

/* True: this TCTI means a Nitro Secure Module. */
bool nsm_is_conf(const char *conf);
/* The file that conf means. Points into conf or static memory. */
const char *nsm_path(const char *conf);

/* One request and its response, both CBOR (nsm_cbor.h). *ret_size: bytes of the response. */
int nsm_exchange(const char *conf, const uint8_t *request, size_t size,
		 uint8_t response[NSM_RESPONSE_MAX], size_t *ret_size, struct error *err);

/* *ret_locked may be NULL. */
int nsm_pcr_read(const char *conf, unsigned pcr, uint8_t value[NSM_PCR_SIZE], bool *ret_locked,
		 struct error *err);
int nsm_pcr_extend(const char *conf, unsigned pcr, const uint8_t digest[NSM_PCR_SIZE],
		   struct error *err);
/* Until the enclave ends, nobody can extend it. Success if it is locked already. */
int nsm_pcr_lock(const char *conf, unsigned pcr, struct error *err);
/* Mixes the module's random numbers into those of OpenSSL. */
int nsm_seed(const char *conf, struct error *err);

#endif
