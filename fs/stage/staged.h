/*
 * staged.h: a source that wraps another one and keeps data read from it on a local disk: ciphertext
 * of payloads only. README.md describes which data is kept, for how long, and in which files.
 *
 * Listing, stat and everything but payloads come from the origin: it decides which objects exist. A
 * copy belongs to a file id, whose payload never changes. Readers are not limited to the speed of
 * the disk (writer.h), and a full or broken disk is no error for them.
 */
#ifndef SEALEDFS_STAGE_STAGED_H
#define SEALEDFS_STAGE_STAGED_H

#include "fs/source/source.h"
#include "fs/stage/types.h"

/*
 * Replaces *s by a staged source; the old *s becomes its origin and is freed with it. It cannot be
 * written to. -EINVAL: dir cannot be a stage; -EEXIST: another process uses it; -errno. *s is then
 * unchanged.
 */
int source_stage(struct source **s, const struct stage_options *options, struct error *err);
/* NULL: not staged. Valid as long as s. */
const struct stage_counters *source_stage_counters(const struct source *s);

#endif
