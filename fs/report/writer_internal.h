/*
 * writer_internal.h: the formats of writer.c: text.c and prometheus.c.
 */
#ifndef SEALEDFS_REPORT_WRITER_INTERNAL_H
#define SEALEDFS_REPORT_WRITER_INTERNAL_H

#include <jansson.h>
#include <stdio.h>

void text_head(const json_t *report, FILE *to);
void text_model(const json_t *m, FILE *to);

/* Samples of models, by metric. */
struct prometheus;
/* NULL: no memory. */
struct prometheus *prometheus_new(void);
void prometheus_free(struct prometheus *p);
void prometheus_add(struct prometheus *p, const json_t *model);
/* Bytes of all samples. */
size_t prometheus_size(const struct prometheus *p);
/* Prints everything; nothing may be added any more. -ENOMEM. */
int prometheus_end(struct prometheus *p, const json_t *head, size_t models, size_t omitted,
		   FILE *to);

#endif
