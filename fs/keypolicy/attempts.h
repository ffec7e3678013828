/*
 * attempts.h: requests that an attacker could make: principal and document. Internal to
 * fs/keypolicy.
 */
#ifndef SEALEDFS_KEYPOLICY_ATTEMPTS_H
#define SEALEDFS_KEYPOLICY_ATTEMPTS_H

#include "fs/keypolicy/policy.h"

#define ATTEMPT_STRANGER "arn:aws:iam::999999999999:role/stranger"
/* Somebody of another account, of whom organisation and tags are not known. */
#define ATTEMPT_INSIDER "arn:aws:iam::888888888888:role/insider"
#define ATTEMPT_SERVICE "stranger.amazonaws.com"

/* An array of strings: the principals that statement speaks of, a member of each account that it
 * speaks of, a stranger, an insider and a service. NULL: no memory. */
json_t *attempt_principals(const json_t *statement);
bool attempt_is_service(const char *principal);
/* The stranger, a service, or somebody of any account, whom a pattern of ARNs lets in. */
bool attempt_is_stranger(const char *principal);

enum attempt_document {
	ATTEMPT_UNATTESTED,
	ATTEMPT_OTHER_MACHINE, /* NitroTPM, no value from any policy */
	ATTEMPT_OTHER_ENCLAVE,
	ATTEMPT_RIGHT,		   /* all values of the statement */
	ATTEMPT_OTHER_IMAGE,	   /* the same but for the image's */
	ATTEMPT_OTHER_COMMANDLINE, /* the same but for NitroTPMPCR12 */
	ATTEMPT_DEBUG_ENCLAVE,	   /* all zero */
};

/*
 * The context of a request; null is known to be absent, and what is not in it is the attacker's
 * choice (open). statement: whose values are right; where it has none, those of the policy's other
 * statements. NULL: no memory.
 */
json_t *attempt_context(const struct keypolicy *p, const json_t *statement, const char *principal,
			enum attempt_document document);
/* A ReEncrypt is to another key. 0 or -ENOMEM. */
int attempt_reencrypt(json_t *context);
/* A CreateGrant is of this operation ("Decrypt"), for an AWS service or an ordinary one; to whom is
 * the attacker's choice. 0 or -ENOMEM. */
int attempt_grant(json_t *context, const char *operation, bool for_service);

/* What the statement's condition pins: machines, enclaves. */
bool attempt_pins_machine(const json_t *statement);
bool attempt_pins_enclave(const json_t *statement);

#endif
