/* describe_set.h: set objects as text and JSON. */
#ifndef SEALEDFS_TOOLS_DESCRIBE_SET_H
#define SEALEDFS_TOOLS_DESCRIBE_SET_H

#include "crypto/set.h"

#include <jansson.h>

/* Everything but the members. label: NULL: without the object's name. */
json_t *describe_set_json(const struct set *set, const char *label);
void describe_set(const struct set *set, const char *label);
/* One line or object for each member; the table is loaded. */
json_t *describe_members_json(const struct set *set);
void describe_members(const struct set *set);

#endif
