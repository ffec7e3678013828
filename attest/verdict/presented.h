/*
 * presented.h: evidence as somebody presents it, JSON (VERDICT.md, "Evidence"). Only its form is
 * checked here: nothing in it is believed before verdict_judge(). Pure. Threads: any.
 */
#ifndef SEALEDFS_VERDICT_PRESENTED_H
#define SEALEDFS_VERDICT_PRESENTED_H

#include "attest/verdict/verdict.h"

#include <jansson.h>

#define PRESENTED_SIZE_MAX ((size_t)8 << 20) /* bytes of JSON */

struct presented {
	struct bytes_view document;
	/* As evidence always has logs, these are never absent; from a bare document they are. */
	struct bytes_view event_log, systemd_log;
	struct seal **seals;
	size_t seal_count;
	struct set **sets;
	size_t set_count;
	uint8_t *owned[3]; /* what the views point to */
};

/* -EPROTO: not of this form, or a limit of VERDICT.md is exceeded. */
int presented_parse(const void *json, size_t size, struct presented *ret, struct error *err);
/* The same for a value that was parsed already, which stays the caller's. */
int presented_take(const json_t *evidence, struct presented *ret, struct error *err);
/* A document alone; the bytes are copied. */
int presented_document(const void *bytes, size_t size, struct presented *ret, struct error *err);
void presented_clear(struct presented *p);

#define _cleanup_presented_ _cleanup_(presented_clear)

#endif
