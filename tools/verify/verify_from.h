/*
 * verify_from.h: evidence from another machine, made for this call, perhaps in exchange for one's
 * own (VERDICT.md, "Evidence").
 */
#ifndef SEALEDFS_TOOLS_VERIFY_FROM_H
#define SEALEDFS_TOOLS_VERIFY_FROM_H

#include "attest/verdict/presented.h"
#include "tools/evidence/evidence.h"

#define VERIFY_NONCE_SIZE 32

/*
 * from: as evidence_server_new(). own: what to present of this machine; NULL: nothing. nonce: the
 * fresh one that was sent. *ret_tls: the server proved to have the TLS key whose hash is in key.
 * Errors as fetch_evidence.h, presented_parse() and evidence_make().
 */
int verify_from(const char *from, const struct evidence_options *own,
		uint8_t nonce[VERIFY_NONCE_SIZE], uint8_t key[32], bool *ret_tls,
		struct presented *ret, struct error *err);

#endif
