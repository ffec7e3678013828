/*
 * measurements.h: the PCR values of one boot image or enclave, as the tools that build it print
 * them: nitro-tpm-pcr-compute (AWS's NitroTPM-Tools) and `nitro-cli build-enclave`, `describe-eif`.
 *
 *   {"Measurements": {"HashAlgorithm": "SHA384", "PCR4": "<96 hex digits>", …}}
 *
 * HashAlgorithm may have more text behind its name ("Sha384 { ... }"), in either case. Members
 * beside Measurements are ignored, unknown ones in it are refused. Which PCRs are there is for the
 * caller to judge, also whether a value may be zero.
 *
 * Errors: -EPROTO not of this form; -EFBIG; -ENOMEM; those of open(). Threads: any.
 */
#ifndef SEALEDFS_MEASUREMENTS_H
#define SEALEDFS_MEASUREMENTS_H

#include "crypto/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEASUREMENTS_SIZE_MAX 65536 /* bytes of a file */
#define MEASUREMENTS_PCRS 32
#define MEASUREMENTS_PCR_SIZE 48 /* SHA-384 */

struct measurements {
	bool present[MEASUREMENTS_PCRS];
	uint8_t value[MEASUREMENTS_PCRS][MEASUREMENTS_PCR_SIZE];
};

/* name: for messages. *ret is untouched on failure; at least one PCR is present. */
int measurements_parse(const void *json, size_t size, const char *name, struct measurements *ret,
		       struct error *err);
int measurements_read(const char *path, struct measurements *ret, struct error *err);

#endif
