/*
 * start_event.h: the text of the configuration under which models are measured (PCRS.md, "Start
 * event"). Two different configurations never have the same text. Pure. Thread-safe.
 */
#ifndef SEALEDFS_START_EVENT_H
#define SEALEDFS_START_EVENT_H

#include "attest/pcr.h"
#include "crypto/sign.h"

#define START_TEXT_MAX 16384 /* bytes, without the NUL */

struct start_facts {
	enum measure_mode measure; /* set=on with MEASURE_SET, else set=off */
	const char *attest;	   /* the value of the option attest= */
	const struct owner_keys *owners;
	char *const *kms_keys; /* pins as kms_arn.h defines them, in any order */
	size_t kms_key_count;
};

/* True: models of this mode are measured after a start event. */
bool start_event_needed(enum measure_mode measure);
/*
 * The text in fresh memory; the caller frees it. Lists are sorted and each item is named once.
 * -EINVAL: the mode has no start event, an item is empty, or the text would be too long.
 */
int start_event_text(const struct start_facts *facts, char **ret, struct error *err);

/* A start event's text taken apart; points into the text. */
struct start_claim {
	enum measure_mode measure;
	const char *owners; /* ids of 2 * SIGNER_ID_SIZE digits with '+' between them */
	size_t owner_count;
};

/* Item `index` of the owners. */
void start_claim_owner(const struct start_claim *c, size_t index, uint8_t id[SIGNER_ID_SIZE]);
/*
 * -EPROTO: not of the form that start_event_text() writes. The order of lists is not checked: the
 * text is what is measured, whoever wrote it.
 */
int start_event_read(const char *text, struct start_claim *ret);

#endif
