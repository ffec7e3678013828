/*
 * lint_internal.h: the parts of lint.c. For fs/keypolicy only.
 */
#ifndef SEALEDFS_KEYPOLICY_LINT_INTERNAL_H
#define SEALEDFS_KEYPOLICY_LINT_INTERNAL_H

#include "fs/keypolicy/lint.h"

/* Why the Allow s lets this principal: the most particular reason, else kind. */
enum keypolicy_hole_kind lint_reason(const json_t *s, const char *principal,
				     enum keypolicy_match match, enum keypolicy_hole_kind kind);
/* A principal of the statement is a pattern, as "*". */
bool lint_names_everybody(const json_t *s);

#endif
