/*
 * mount_options.h: how the kernel is to mount, as it follows from the configuration.
 */
#ifndef SEALEDFS_FUSE_MOUNT_OPTIONS_H
#define SEALEDFS_FUSE_MOUNT_OPTIONS_H

#include "fs/config/config.h"
#include "fs/mount/keeper.h"

/* One escaped -o list for libfuse, to be freed; *ret is NULL or a list to add to. -ENOMEM. */
int mount_options(const struct config *c, char **ret);
/* What keeper_start() is to mount; to be cleared. -ENOMEM. */
int mount_plan(const struct config *config, struct keeper_mount *ret);

#endif
