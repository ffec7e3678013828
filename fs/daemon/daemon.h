/*
 * daemon.h: everything a mount consists of, put together and taken apart in the right order.
 */
#ifndef SEALEDFS_DAEMON_H
#define SEALEDFS_DAEMON_H

#include "fs/config/config.h"
#include "fs/service/launch.h"
#include "fs/service/notify.h"

struct daemon;

/*
 * Opens source, keys and view and, with ready=unlocked, every model, waiting for what is not there
 * yet as long as the configuration allows. Not mounted yet. Drops the process's privileges as soon
 * as it has what it needs them for. Nothing that has threads or secrets may exist before.
 */
int daemon_prepare(const struct config *config, struct notify *notify, struct daemon **ret,
		   struct error *err);
/*
 * Mounts, reports ready to the launch, serves until unmounted or told to end. 0, or the error that
 * kept it from getting ready. May end the process itself when readers hold on.
 */
int daemon_run(struct daemon *d, struct launch *launch, struct error *err);
void daemon_free(struct daemon *d);

DEFINE_CLEANUP(struct daemon *, daemon_free)

#endif
