/*
 * fetch_evidence.h: asking another machine for its evidence (VERDICT.md, "Evidence"): from
 * http://HOST[:PORT], https://HOST[:PORT] or unix:PATH. What comes is believed in nothing here: the
 * caller judges it, with the nonce that it sent and the TLS key that was met.
 *
 * Errors: -EINVAL no such place; -EKEYREJECTED the server refuses its caller (403; the message has
 * its sentence); -ENOENT it is no such server; -EPROTO its answer is malformed; -EREMOTEIO it
 * cannot answer now; those of http.h. Threads: one at a time per object.
 */
#ifndef SEALEDFS_TOOLS_FETCH_EVIDENCE_H
#define SEALEDFS_TOOLS_FETCH_EVIDENCE_H

#include "crypto/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FETCH_NONCE_SIZE 32

struct evidence_server;

/* Ctrl-C ends its requests from now on (interrupt.h). */
int evidence_server_new(const char *from, struct evidence_server **ret, struct error *err);
void evidence_server_free(struct evidence_server *s);

/* JSON of its evidence for this nonce, in new memory. */
int evidence_server_get(struct evidence_server *s, const uint8_t nonce[FETCH_NONCE_SIZE],
			char **ret, size_t *ret_size, struct error *err);
/* A nonce for evidence that is presented to it. */
int evidence_server_nonce(struct evidence_server *s, uint8_t out[FETCH_NONCE_SIZE],
			  struct error *err);
/* Presents evidence, JSON; the rest as evidence_server_get(). */
int evidence_server_present(struct evidence_server *s, const uint8_t nonce[FETCH_NONCE_SIZE],
			    const char *evidence, char **ret, size_t *ret_size, struct error *err);
/* SHA-256 of the key that the server proved to have; NULL: no TLS, or nothing was asked yet. The
 * same in all answers, or they are refused with -EBADMSG. */
const uint8_t *evidence_server_key(const struct evidence_server *s);

DEFINE_CLEANUP(struct evidence_server *, evidence_server_free)

#endif
