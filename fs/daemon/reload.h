/*
 * reload.h: reading the listing again while the mount serves. New models appear, replaced ones
 * become other files, and readers of an open file keep the old one. A reload that fails changes
 * nothing.
 *
 * Whoever may asks for one by an ioctl on the root of the mount (mount_root.h), and learns from an
 * extended attribute of it how it ended. SIGHUP begins one, too, for whoever started the process.
 */
#ifndef SEALEDFS_RELOAD_H
#define SEALEDFS_RELOAD_H

#include "fs/fuse/ops.h"
#include "fs/models/listing.h"
#include "fs/mount/mount_root.h"
#include "fs/service/notify.h"

struct reload;

/* Everything is borrowed. Requests may ask for reloads from now on. */
int reload_new(const struct listing *listing, struct ops_context *ops, struct notify *notify,
	       struct reload **ret);
/* Begins one in a thread of its own; one that comes while another runs begins after it. *ret: which
 * one it is, counted from 1. -EAGAIN: there is no thread, or the daemon ends. */
int reload_begin(struct reload *r, uint32_t *ret);
/* Frees models that a reload took away and that somebody still had open, once nobody has: their
 * keys must not stay until the next reload. arg: struct reload. Does nothing while one runs. */
void reload_tidy(void *arg);
/* Begins no more. False: after wait_ms one still runs, held up by a network or a TPM. */
bool reload_end(struct reload *r, unsigned wait_ms);
/* After reload_end() was true. */
void reload_free(struct reload *r);

DEFINE_CLEANUP(struct reload *, reload_free)

#endif
