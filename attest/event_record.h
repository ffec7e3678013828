/*
 * event_record.h: one record of a measurement log: CEL-JSON (TCG Canonical Event Log) as systemd
 * writes it, in RFC 7464 framing. Format of our content: PCRS.md. Pure: bytes in, struct out.
 */
#ifndef SEALEDFS_EVENT_RECORD_H
#define SEALEDFS_EVENT_RECORD_H

#include "attest/pcr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EVENT_RECORD_MAX 65536 /* bytes of one record with its framing */
#define EVENT_BOOT_ID_SIZE 33  /* 32 digits and a NUL */
#define EVENT_NAME_MAX 4096

struct event_record {
	struct pcr_values digests; /* pcr and one digest for each bank that the record names */
	bool is_model;		   /* one of ours; the rest is set only then */
	enum measure_mode mode;
	char boot_id[EVENT_BOOT_ID_SIZE];
	bool has_before;
	struct pcr_values before; /* the PCR's values just before this event */
};

/* The running kernel's boot id, without dashes. */
int event_boot_id(char out[EVENT_BOOT_ID_SIZE], struct error *err);

/*
 * A framed record in fresh memory (caller frees). digests: what is extended; before: NULL or the
 * values it starts from.
 */
int event_record_encode(const struct measure_event *event, const struct pcr_values *digests,
			const struct pcr_values *before, const char *boot_id, uint8_t **ret,
			size_t *ret_size, struct error *err);

/*
 * Takes the record that bytes begin with; *ret_size is its length with framing.
 * 1: a record for a PCR; 0: a record for something else (an NV index); -ENODATA: cut short;
 * -EPROTO: malformed.
 */
int event_record_decode(const uint8_t *bytes, size_t size, struct event_record *ret,
			size_t *ret_size);

/* value = what the PCR was before r, in the banks of value that r names; zero in others. */
void event_record_start(const struct event_record *r, struct pcr_values *value);
/* value = the PCR after extending it by r's digests, in every bank of value. -EPROTO: the record
 * lacks a bank. */
int event_record_apply(const struct event_record *r, struct pcr_values *value);

#endif
