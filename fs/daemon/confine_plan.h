/* confine_plan.h: confine.h for a daemon's configuration. */
#ifndef SEALEDFS_CONFINE_PLAN_H
#define SEALEDFS_CONFINE_PLAN_H

#include "fs/config/config.h"

/* For good; before there are threads, as the user that the daemon is from now on. Makes the runtime
 * directory. -errno. */
int confine_by_config(const struct config *config, struct error *err);

#endif
