/* set_values.h: values of options about sets, as they are given on a command line. */
#ifndef SEALEDFS_TOOLS_SET_VALUES_H
#define SEALEDFS_TOOLS_SET_VALUES_H

#include "crypto/set.h"

/* "never" (0), "90d", "12h", "30m" from now, or "2027-01-31T00:00:00Z": seconds since 1970.
 * -EINVAL. */
int set_expiry_parse(const char *text, uint64_t *ret, struct error *err);
/* --set-id: 64 hex digits, as sealctl set list prints them. -EINVAL. */
int set_id_parse(const char *text, uint8_t ret[SET_ID_SIZE], struct error *err);
/* --min-version. -EINVAL. */
int set_version_parse(const char *text, uint64_t *ret, struct error *err);

#endif
