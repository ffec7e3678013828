/*
 * report_text.h: the report of a mount for people, and for Prometheus. Both are made from the JSON
 * object of report.h, by the daemon for .sealedfs/ and by sealctl status, which knows one thing
 * more: "resident_bytes" of each model. Unknown members are passed over, missing ones left out.
 */
#ifndef SEALEDFS_REPORT_TEXT_H
#define SEALEDFS_REPORT_TEXT_H

#include <jansson.h>
#include <stdio.h>

/* Names are printed so that they cannot forge a line. */
void report_print_text(const json_t *report, FILE *to);
/* Text exposition format 0.0.4: HELP and TYPE, label values escaped, base units. */
void report_print_prometheus(const json_t *report, FILE *to);

#endif
