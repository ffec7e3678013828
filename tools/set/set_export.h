/*
 * set_export.h: a set as an OpenSSF Model Signing bundle. One thread.
 */
#ifndef SEALEDFS_TOOLS_SET_EXPORT_H
#define SEALEDFS_TOOLS_SET_EXPORT_H

#include "fs/oms/oms_check.h"
#include "tools/set/set_store.h"

struct set_export_result {
	size_t files;
	size_t left_out;   /* members that the mount shows and the specification leaves out */
	const char *first; /* of them; points into the set; NULL: none */
};

/* Writes the bundle to path in one step. The set must have been checked against an owner or opened:
 * -EINVAL. */
int set_export_oms(const struct set_store *s, const struct oms_key *key, const char *path,
		   struct set_export_result *ret, struct error *err);

#endif
