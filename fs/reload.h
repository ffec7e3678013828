/*
 * reload.h: reading the listing again while the mount serves. New models appear, replaced ones
 * become other files, and who has a file open goes on with it. A reload that fails changes nothing.
 *
 * Who asks for one by SIGHUP learns how it ended from the extended attribute
 * "user.sealedfs.listing" of the root directory: the number of attempts so far, and "ok" or
 * "failed" for the last.
 */
#ifndef SEALEDFS_RELOAD_H
#define SEALEDFS_RELOAD_H

#include "fs/listing.h"
#include "fs/ops.h"

#define RELOAD_ATTRIBUTE "user.sealedfs.listing"
#define RELOAD_PID_ATTRIBUTE "user.sealedfs.pid"

struct reload;

/* Everything is borrowed. */
int reload_new(const struct listing *listing, struct ops_context *ops, struct reload **ret);
/* Begins one in a thread of its own; one that comes while another runs begins after it. */
void reload_begin(struct reload *r);
/* Begins no more. False: after wait_ms one still runs, held up by a network or a TPM. */
bool reload_end(struct reload *r, unsigned wait_ms);
/* After reload_end() was true. */
void reload_free(struct reload *r);

/* The other side: makes the daemon of a mount point reload, waits, and says how it went. */
int reload_ask(const char *mountpoint, struct error *err);

DEFINE_CLEANUP(struct reload *, reload_free)

#endif
