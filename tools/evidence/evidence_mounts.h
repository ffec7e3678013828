/*
 * evidence_mounts.h: the mounts that evidence speaks of, and what their daemons know. Threads: any.
 */
#ifndef SEALEDFS_TOOLS_EVIDENCE_MOUNTS_H
#define SEALEDFS_TOOLS_EVIDENCE_MOUNTS_H

#include <jansson.h>

#define EVIDENCE_SEALS_MAX 1024
#define EVIDENCE_MOUNTS_MAX 64

/*
 * Adds each mount to the array mounts, as evidence_mounts(), and the seals of its models to the
 * array seals and the sets to the array sets (NULL: not wanted), as VERDICT.md has them. event_log:
 * its owner's mounts count, too. A mount that cannot be read gets "error". -ENOMEM.
 */
int evidence_mounts_add(const char *event_log, json_t *mounts, json_t *seals, json_t *sets);

#endif
