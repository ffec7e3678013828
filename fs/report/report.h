/*
 * report.h: what a mount reports about itself: .sealedfs/status.json and, in other formats,
 * status and metrics. The members are part of the interface: names contain their units, none is
 * ever removed; see sealedfs(8), FILES. Contains no secret.
 */
#ifndef SEALEDFS_REPORT_REPORT_H
#define SEALEDFS_REPORT_REPORT_H

#include "fs/config/config.h"
#include "fs/models/catalog.h"
#include "fs/models/late.h"
#include "fs/report/writer.h"

/* Everything is borrowed. */
struct report_sources {
	const struct config *config;
	struct catalog *catalog;
	struct read_engine *engine;
	struct residents *residents; /* NULL: none */
	const struct source *source;
	const struct aws *aws; /* NULL: none */
	struct late *late;
	int64_t started_s; /* since 1970 */
	unsigned reloads;
	struct error reload_error; /* of the last one; code 0: none */
};

/*
 * Prints a report in which all counters are those of one moment for each model. Once its models
 * take `limit` bytes, the others are omitted, and it says how many; those that were opened
 * or failed come before. -ENOMEM. Waits only for short locks. Threads: any.
 */
int report_write(const struct report_sources *s, enum report_format format, size_t limit, FILE *to);

/*
 * .sealedfs/seals.json, for relying parties: of each model that is unlocked, the core and the
 * signature block of its seal, which state what it is and who signed that; from memory, without
 * I/O. "models" counts all files of the mount, "measured" is the event's text or null. "set", if
 * the mount shows one, has the same of its object.
 *
 *   {"models": 7, "set": {"head": "BASE64"}, "seals": [{"name": "a/m.gguf", "state": "measured",
 * "measured": "sealedfs:…", "head": "BASE64"}, …], "seals_omitted": 0}
 *
 * limit, errors, threads: as above.
 */
int report_write_seals(const struct report_sources *s, size_t limit, FILE *to);

/* The word for a model's condition. */
const char *report_condition(enum model_condition condition);

#endif
