/*
 * report.h: how the mount is, as one JSON object. The control directory and sealctl make their
 * texts from it (report_text.h, report_prometheus.h). Its members are part of the interface: names
 * say their units, none is ever removed; see sealedfs(8), FILES. Holds no secret.
 */
#ifndef SEALEDFS_REPORT_H
#define SEALEDFS_REPORT_H

#include "fs/catalog.h"
#include "fs/config.h"

#include <jansson.h>

/* Everything is borrowed. */
struct report_sources {
	const struct config *config;
	struct catalog *catalog;
	struct read_engine *engine;
	const struct source *source;
	const struct aws *aws; /* NULL: none */
	int64_t started_s;     /* since 1970 */
	unsigned reloads;
	bool reload_failed;
};

/* NULL without memory. Asks nobody and waits for nothing but short locks. Threads: any. */
json_t *report_make(const struct report_sources *s);

#endif
