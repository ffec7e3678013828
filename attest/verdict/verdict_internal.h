/*
 * verdict_internal.h: shared by the files of this folder only: the steps, each in its file.
 *
 * A step_*() function judges one step and returns 0, also when the evidence fails, or -ENOMEM.
 */
#ifndef SEALEDFS_VERDICT_INTERNAL_H
#define SEALEDFS_VERDICT_INTERNAL_H

#include "attest/verdict/verdict.h"
#include "crypto/base/digest.h"

#include <openssl/types.h>

struct judging {
	const struct verdict_request *req;
	struct verdict *v;
	struct bytes_view root;
	const uint8_t *pcr; /* the model PCR's value, 48 bytes; NULL: the document has none */
};

int step_pass(struct verdict *v, enum verdict_step step);
int step_fail(struct verdict *v, enum verdict_step step, const char *fmt, ...) _printf_(3, 4);
/* A log of either kind was given. */
bool log_was_given(const struct verdict_request *req);

/* chain.c, cose.c */
/* Exactly one certificate, or NULL; X509_free(). */
X509 *certificate_parse(struct bytes_view der);
int step_chain(struct judging *j);
int step_signature(struct judging *j);
/* expectations.c */
int step_freshness(struct judging *j);
int step_tls(struct judging *j);
int step_boot(struct judging *j);
/* log.c: also finds what the PCR holds. */
int step_log(struct judging *j);
/* predicted.c: what the PCR holds, without a log. */
int find_by_models(struct judging *j);
unsigned mode_kinds(enum measure_mode mode); /* kinds of digest that a mode measures */
/* seals.c: seals, owners and names of what was found. */
int complete_models(struct judging *j);
int step_owner(struct judging *j);
/* members.c: the members that were asked for; passes or fails the step. */
int judge_members(struct judging *j);
/* seals.c: the head of a set that belongs to m, or the next one behind `after`; NULL: none. */
const struct set *set_of(const struct verdict_request *req, const struct held_model *m,
			 const struct set *after);
/* The expected owner that signed it; NULL: none did. */
const char *set_owner(const struct verdict_request *req, const struct set *s);
/* models.c */
int step_model(struct judging *j);
/* True when an expected model is the one that the PCR holds. */
bool model_is(const struct verdict_model *expected, const struct held_model *held);
/* sentence.c */
int make_sentence(struct judging *j);

/* verdict.c: adds to what the PCR holds. text is taken, also on failure. */
int held_add_model(struct verdict *v, enum measure_mode mode, const struct model_digests *digests);
int held_add_start(struct verdict *v, char *text);

#endif
