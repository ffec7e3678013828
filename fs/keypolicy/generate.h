/*
 * generate.h: the key policy that lets one image, or several, unlock models and nobody else. Pure;
 * thread-safe.
 *
 * Owners manage the key and cannot use it; sealers make wrapped data keys; runtime roles may only
 * decrypt, with a document that has all of the PCRs. Decrypt with another document or none, and
 * everything that would carry a data key out, is denied to everybody, so that no later statement,
 * IAM policy or grant opens it.
 */
#ifndef SEALEDFS_KEYPOLICY_GENERATE_H
#define SEALEDFS_KEYPOLICY_GENERATE_H

#include "crypto/base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct keypolicy_arns {
	const char *const *list;
	size_t count;
};

struct keypolicy_recipe {
	struct keypolicy_arns owners, sealers, roles; /* no sealers: owners seal */
	bool enclave; /* Nitro Enclaves' PCR 0, 1, 2 and 8; else NitroTPM's 4, 7 and 12 */
	/* {"4": ["<96 hex digits>", …], …}: the values of all images. 8 may be absent. */
	const json_t *pcrs;
};

/*
 * *ret: the document, indented, without a line end. -EINVAL: an ARN that is none of a role or user,
 * one principal in two parts, a PCR that is missing, a debugged enclave; -E2BIG: over KMS's limit;
 * -ENOMEM.
 */
int keypolicy_generate(const struct keypolicy_recipe *recipe, char **ret, struct error *err);

#endif
