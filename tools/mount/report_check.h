/*
 * report_check.h: a mount's report (fs/report/report.h) validated. Known members must have the
 * type, range, length and words that the daemon gives them; unknown members are only limited in
 * size, because nothing depends on them.
 */
#ifndef SEALEDFS_TOOLS_REPORT_CHECK_H
#define SEALEDFS_TOOLS_REPORT_CHECK_H

#include "crypto/base/error.h"

#include <jansson.h>

/* -EPROTO, and which member is wrong. Model names are paths that cannot leave the mount. */
int report_check(const json_t *report, struct error *err);
/* The same for report_write_seals(). A head is base64 of any bytes. */
int report_check_seals(const json_t *report, struct error *err);

#endif
