/*
 * serve_answer.h: from a request to its answer, without HTTP: limits, evidence, policy.
 *
 * One answer at a time is made that asks the TPM or a mount; a caller that has waited ten seconds
 * for its turn is told to come back. Threads: any; called in the caller's own thread.
 */
#ifndef SEALEDFS_TOOLS_SERVE_ANSWER_H
#define SEALEDFS_TOOLS_SERVE_ANSWER_H

#include "tools/evidence/evidence.h"
#include "tools/serve/serve_request.h"

struct cli;

struct serve_site_options {
	struct evidence_options evidence;
	const char *bind_cert; /* PEM, read for every document; NULL: none */
	struct cli *cli;       /* for what the policy names */
	const char *require; /* a policy file that callers' own evidence must fit; NULL: anybody */
	unsigned rate_per_minute;
};

struct serve_site;

/* Checks what can be checked before somebody asks. What options point to must outlive it. */
int serve_site_new(const struct serve_site_options *options, struct serve_site **ret,
		   struct error *err);
void serve_site_free(struct serve_site *s);
const struct evidence_maker *serve_site_maker(const struct serve_site *s);

/* Who asks: bytes of the network address that tell callers apart; size 0: not known. */
struct serve_caller {
	uint8_t address[16];
	size_t size;
};

struct serve_answer {
	unsigned status; /* of HTTP */
	char *body;	 /* the caller's */
	size_t size;
	const char *type;	/* static */
	unsigned retry_after_s; /* 0: none */
	const char *allow;	/* of 405; static; NULL: none */
};

/* body: of SERVE_PRESENT. Always fills *ret; body NULL: no memory. */
void serve_answer(struct serve_site *s, const struct serve_request *request,
		  const struct serve_caller *caller, const void *body, size_t size,
		  struct serve_answer *ret);
/* {"error": why}. */
void serve_refuse(unsigned status, const char *why, struct serve_answer *ret);

DEFINE_CLEANUP(struct serve_site *, serve_site_free)

#endif
