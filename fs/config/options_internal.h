/*
 * options_internal.h: one option by its name, and the strings of a struct config. For fs/config
 * only.
 */
#ifndef SEALEDFS_CONFIG_OPTIONS_INTERNAL_H
#define SEALEDFS_CONFIG_OPTIONS_INTERNAL_H

#include "fs/config/config.h"

/* One -o argument: "name=value,name,…". -EINVAL with message. */
int config_apply_options(struct config *c, const char *text, struct error *err);
/*
 * One line of a configuration file (file.h; arg: struct config): the same names, and source
 * and mountpoint. Switches are yes or no; what -o repeats is one list with commas.
 */
int config_apply_key(void *arg, const char *key, const char *value, struct error *err);
/* Replaces *field by a copy. -ENOMEM. */
int config_set_string(char **field, const char *value);
int config_list_add(struct config_list *list, const char *value);
/* A value of net=. -EINVAL. */
int config_add_net(struct config *c, const char *value, struct error *err);
/* As in 4096, 256M, 2G or 1T, from min to max bytes. -EINVAL. */
int config_size(const char *value, uint64_t min, uint64_t max, uint64_t *ret);
/* Options that are sizes. */
int config_parse_stage_size(struct config *c, const char *value, struct error *err);
int config_parse_resident(struct config *c, const char *value, struct error *err);
/* It fits the other options. */
int config_check_resident(const struct config *c, struct error *err);
/* together.c: sets what follows from the options, and checks whether they fit together. -EINVAL. */
int config_finish(struct config *c, struct error *err);

#endif
