/*
 * verify_output.h: a verdict for people and as JSON.
 */
#ifndef SEALEDFS_TOOLS_VERIFY_OUTPUT_H
#define SEALEDFS_TOOLS_VERIFY_OUTPUT_H

#include "attest/verdict/verdict.h"

#include <jansson.h>

/* The sentence, the steps with their reasons, what the PCR holds, the PCRs. pcr: of the models. */
void verify_print(const struct verdict *v, unsigned pcr);
/* The same; label and size: of the document. */
json_t *verify_json(const struct verdict *v, unsigned pcr, const char *label, size_t size);

#endif
