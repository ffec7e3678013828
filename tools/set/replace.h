/*
 * replace.h: one object in place of the version of it that was read, or nothing. One thread.
 */
#ifndef SEALEDFS_TOOLS_REPLACE_H
#define SEALEDFS_TOOLS_REPLACE_H

#include "crypto/set_writer.h"
#include "fs/source/source.h"

/* Seals that are rewritten are read whole: those of models of up to 5 TB. */
#define REPLACE_SEAL_MAX ((uint64_t)512 << 20)

/*
 * As source_put_if(). A PUT that took effect although its answer was lost is a success. -ESTALE,
 * -EEXIST: another writer was first, and nothing was written. -EOPNOTSUPP: nobody changed it; the
 * server has no conditional writes.
 */
int replace_object(struct source *source, const char *name, const char *version,
		   const uint8_t *bytes, size_t size, struct error *err);
/*
 * The same for the recipients of a seal: seal is of o, which was listed or found; keys are its own.
 * Reads the tables, which must be the sealer's; the payload is not touched.
 */
int replace_seal_slots(struct source *source, const struct source_object *o, struct seal *seal,
		       const struct seal_keys *keys, const struct seal_slot *slots, unsigned count,
		       struct error *err);

#endif
