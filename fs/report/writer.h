/*
 * writer.h: the report of a mount as text, as JSON or for Prometheus, one model at a time: what it
 * takes is the text, not the objects. The daemon makes .sealedfs/ from it, and sealctl status its
 * output. sealctl adds "resident_bytes" to each model. Unknown members are skipped, missing ones
 * left out.
 *
 * Names are printed so that they cannot forge a line. Prometheus: text exposition format 0.0.4,
 * with HELP and TYPE, escaped label values, base units.
 */
#ifndef SEALEDFS_REPORT_WRITER_H
#define SEALEDFS_REPORT_WRITER_H

#include "crypto/base/cleanup.h"

#include <jansson.h>
#include <stdio.h>

enum report_format { REPORT_TEXT, REPORT_JSON, REPORT_PROMETHEUS };

struct report_writer;

/* head: the report without "models"; borrowed, like `to`, until the end. -ENOMEM. */
int report_begin(enum report_format format, const json_t *head, FILE *to,
		 struct report_writer **ret);
void report_add(struct report_writer *w, const json_t *model);
/* Size of all printed output in bytes. */
size_t report_size(const struct report_writer *w);
/* omitted: so many models were not added. Frees w. -ENOMEM. */
int report_end(struct report_writer *w, size_t omitted);
/* The whole of a report that is in memory. -ENOMEM. */
int report_print(enum report_format format, const json_t *report, FILE *to);

#endif
