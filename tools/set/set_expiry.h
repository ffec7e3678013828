/* set_expiry.h: when a set expires, as it is given on a command line. */
#ifndef SEALEDFS_TOOLS_SET_EXPIRY_H
#define SEALEDFS_TOOLS_SET_EXPIRY_H

#include "crypto/base/error.h"

#include <stdint.h>

/* "never" (0), "90d", "12h", "30m" from now, or "2027-01-31T00:00:00Z": seconds since 1970.
 * -EINVAL. */
int set_expiry_parse(const char *text, uint64_t *ret, struct error *err);

#endif
