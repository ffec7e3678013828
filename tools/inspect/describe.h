/*
 * describe.h: seals and their parts as text and JSON, the same for every verb. Needs no key and
 * shows none.
 */
#ifndef SEALEDFS_TOOLS_DESCRIBE_H
#define SEALEDFS_TOOLS_DESCRIBE_H

#include "crypto/seal.h"
#include "tools/common/output.h"

/* {"type": "aws-kms", "key": ARN} or {"type": "key-file", "id": hex}, … */
json_t *describe_slot_json(const struct seal_slot *slot);
json_t *describe_slots_json(const struct seal_slot *slots, unsigned count);

/* Facts as an object, and as lines. */
json_t *describe_facts_json(const char *text);
void describe_facts(const char *text);

/* Everything that core and slots state. path_fits: seal_check_name() of where it was found. */
json_t *describe_seal_json(const struct seal *seal, const char *label, uint64_t object_size,
			   bool path_fits);
void describe_seal(const struct seal *seal, const char *label, uint64_t object_size,
		   bool path_fits);

#endif
