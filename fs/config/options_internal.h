/*
 * config_options.h: one option by its name. For fs/config.c only.
 */
#ifndef SEALEDFS_CONFIG_OPTIONS_H
#define SEALEDFS_CONFIG_OPTIONS_H

#include "fs/config.h"

/* One -o argument: "name=value,name,…". -EINVAL with message. */
int config_apply_options(struct config *c, const char *text, struct error *err);
/*
 * One line of a configuration file (config_file.h; arg: struct config): the same names, and source
 * and mountpoint. Switches are yes or no; what -o repeats is one list with commas.
 */
int config_apply_key(void *arg, const char *key, const char *value, struct error *err);
int config_set_string(char **field, const char *value);

#endif
