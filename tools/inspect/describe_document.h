/*
 * describe_document.h: every field of an attestation document, as text and JSON. Verifies nothing,
 * and prints that.
 */
#ifndef SEALEDFS_TOOLS_DESCRIBE_DOCUMENT_H
#define SEALEDFS_TOOLS_DESCRIBE_DOCUMENT_H

#include "attest/document.h"
#include "tools/common/output.h"

json_t *describe_document_json(const struct attest_doc *doc, const char *label, size_t size);
void describe_document(const struct attest_doc *doc, const char *label, size_t size);

#endif
