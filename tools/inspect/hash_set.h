/*
 * hash_set.h: the content digest that a directory of plaintexts has as a set.
 */
#ifndef SEALEDFS_TOOLS_HASH_SET_H
#define SEALEDFS_TOOLS_HASH_SET_H

#include "tools/inspect/predict.h"

/* Takes the files that `sealctl seal DIRECTORY … --set` takes, as the set and the models of p. */
int hash_set_directory(const char *directory, bool quiet, struct prediction *p, struct error *err);

#endif
