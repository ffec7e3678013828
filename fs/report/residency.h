/*
 * residency.h: what a report has of models in memory (fs/resident). For fs/report only.
 */
#ifndef SEALEDFS_REPORT_RESIDENCY_H
#define SEALEDFS_REPORT_RESIDENCY_H

#include "fs/resident/resident.h"

#include <jansson.h>

json_t *residency_of_model(const struct resident_look *look);
/* All models together. */
json_t *residency_of_mount(struct residents *residents);

/* report.c: message, hint and exit code. */
json_t *report_reason(const struct error *why);

#endif
