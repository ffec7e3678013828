/*
 * reload_ask.h: the client's side of a reload (reload.h). Asks the daemon through the mount, and so
 * reaches the right one whatever pid namespace it is in; no process is signalled.
 */
#ifndef SEALEDFS_RELOAD_ASK_H
#define SEALEDFS_RELOAD_ASK_H

#include "crypto/base/error.h"

/*
 * Makes the daemon of this mount point reload, and waits until it has. The errors of
 * mount_root_open(), but -ENXIO for what is no mount of ours; -EPERM: not this user's to ask;
 * -ETIMEDOUT: no answer in 30 s, or no new listing in 10 minutes; -EIO: what the daemon said went
 * wrong. Forks: call it before threads are made.
 */
int reload_ask(const char *mountpoint, struct error *err);

#endif
