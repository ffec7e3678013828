/* verbs.h: the table of verbs; each is defined in its verb_NAME.c. */
#ifndef SEALEDFS_TOOLS_VERBS_H
#define SEALEDFS_TOOLS_VERBS_H

#include "tools/common/cli.h"

extern const struct verb verb_attest;
extern const struct verb verb_cat;
extern const struct verb verb_check;
extern const struct verb verb_clean;
extern const struct verb verb_doctor;
extern const struct verb verb_evict;
extern const struct verb verb_hash;
extern const struct verb verb_inspect;
extern const struct verb verb_keygen;
extern const struct verb verb_policy;
extern const struct verb verb_recipients;
extern const struct verb verb_rewrap;
extern const struct verb verb_seal;
extern const struct verb verb_set;
extern const struct verb verb_status;
extern const struct verb verb_tpm_key;
extern const struct verb verb_verify;
extern const struct verb verb_warm;

#endif
