/*
 * verify_input.h: evidence from files: a document (raw or base64) or evidence as JSON, and logs.
 */
#ifndef SEALEDFS_TOOLS_VERIFY_INPUT_H
#define SEALEDFS_TOOLS_VERIFY_INPUT_H

#include "attest/verdict/presented.h"

/* True when the bytes begin as a COSE_Sign1 does: an array of four, tagged or not. */
bool document_begins(const uint8_t *data, size_t size);
/* A document in base64, as in JSON or mail, with any white space: fresh memory, or NULL when it is
 * something else. */
uint8_t *document_from_base64(const uint8_t *text, size_t size, size_t *ret_size);

/* path: "-" is standard input. -EFBIG; -EPROTO of evidence that is malformed. */
int verify_read_evidence(const char *path, struct presented *ret, struct error *err);
/* The logs of a bare document; NULL: none. */
int verify_read_logs(const char *event_log, const char *systemd_log, struct presented *p,
		     struct error *err);

#endif
