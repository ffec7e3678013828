/*
 * Times of expiry, ids and versions. Trusts the command line. Must never take a typing error for
 * "never" or "any".
 */
#include "tools/set/set_values.h"

#include "crypto/base/encode.h"
#include "crypto/format.h"
#include "fs/net/dates.h"

#include <errno.h>
#include <string.h>
#include <time.h>

int set_expiry_parse(const char *text, uint64_t *ret, struct error *err)
{
	static const char units[] = "mhd";
	static const uint64_t seconds[] = {60, 3600, 86400};
	unsigned long long n;
	int64_t when;
	char *end;
	const char *unit;

	*ret = 0;
	if (strcmp(text, "never") == 0)
		return 0;
	if (date_parse_rfc3339(text, &when) == 0 && when > 0 && (uint64_t)when <= SEAL_TIME_MAX) {
		*ret = (uint64_t)when;
		return 0;
	}
	errno = 0;
	n = text[0] >= '0' && text[0] <= '9' ? strtoull(text, &end, 10) : 0;
	if (n > 0 && !errno && n <= 100000 && end[0] && !end[1] && (unit = strchr(units, end[0]))) {
		*ret = (uint64_t)time(NULL) + n * seconds[unit - units];
		return 0;
	}
	return error_set(err, -EINVAL,
			 "--expires %s: neither never, nor a number and m, h or d, nor a time like "
			 "2027-01-31T00:00:00Z",
			 text);
}

int set_id_parse(const char *text, uint8_t ret[SET_ID_SIZE], struct error *err)
{
	if (hex_decode(text, ret, SET_ID_SIZE) == 0)
		return 0;
	return error_set(err, -EINVAL,
			 "--set-id %s: not the 64 hex digits that sealctl set list prints", text);
}

int set_version_parse(const char *text, uint64_t *ret, struct error *err)
{
	if (number_parse(text, 10, SET_VERSION_MAX, ret) == 0)
		return 0;
	return error_set(err, -EINVAL, "--min-version %s: not a version of a set", text);
}
