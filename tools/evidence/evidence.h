/*
 * evidence.h: what this machine can show about itself (VERDICT.md, "Evidence"): an attestation
 * document with the asker's nonce, the measurement logs, the public parts of the seals, what is
 * mounted. Nothing in it is secret, and nothing is kept for the next asker.
 *
 * Of the mounts of this mount namespace those are asked that belong to root, to this user or to the
 * owner of the measurement log: another user's could answer anything, or never. What is read is
 * validated as sealctl status does it.
 *
 * Threads: one at a time per object.
 */
#ifndef SEALEDFS_TOOLS_EVIDENCE_H
#define SEALEDFS_TOOLS_EVIDENCE_H

#include "attest/document.h"
#include "crypto/base/error.h"

#include <jansson.h>

#define EVIDENCE_SIZE_MAX ((size_t)8 << 20) /* bytes of JSON */

struct evidence_options {
	const char *tcti;	 /* tpm_open() */
	const char *event_log;	 /* NULL: the machine's */
	const char *systemd_log; /* NULL: the machine's, or systemd's credential of this name */
	unsigned pcr;		 /* of the models */
};

struct evidence_maker;

/* What options point to must outlive it. -ENOMEM. */
int evidence_maker_new(const struct evidence_options *options, struct evidence_maker **ret,
		       struct error *err);
void evidence_maker_free(struct evidence_maker *m);
const char *evidence_event_log(const struct evidence_maker *m);
const char *evidence_systemd_log(const struct evidence_maker *m);

/*
 * Asks the TPM. The document is of a moment at which the log did not change. *ret: JSON text, the
 * caller's. Errors as attest_document() and event_log_copy(); -EAGAIN: models are being measured
 * all the time; -EFBIG.
 */
int evidence_make(struct evidence_maker *m, const struct attest_request *request, char **ret,
		  size_t *ret_size, struct error *err);

/* [{"path": …, "models": [{"name", "state", "measured"}, …], "files": 7}, …]; "error" instead of
 * what could not be read. The caller frees; NULL: no memory. */
json_t *evidence_mounts(struct evidence_maker *m);
/* The same for people. -ENOMEM. */
int evidence_text(struct evidence_maker *m, char **ret, size_t *ret_size);

DEFINE_CLEANUP(struct evidence_maker *, evidence_maker_free)

#endif
