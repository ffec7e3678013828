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

#define EVENT_RECORD_BEGIN 0x1e /* RFC 7464 */
#define EVENT_RECORD_MAX 65536	/* bytes of one record with its framing */
#define EVENT_BOOT_ID_SIZE 33	/* 32 digits and a NUL */
#define EVENT_NAME_MAX 4096

enum event_kind {
	EVENT_OTHER, /* not one of ours */
	EVENT_START,
	EVENT_MODEL,
};

struct event_record {
	struct pcr_values digests; /* pcr and one digest for each bank that the record names */
	enum event_kind kind;	   /* the rest is set only for ours */
	enum measure_mode mode;	   /* EVENT_MODEL */
	char boot_id[EVENT_BOOT_ID_SIZE];
	bool has_before;
	struct pcr_values before; /* the PCR's values just before this event */
};

/* The running kernel's boot id, without dashes. */
int event_boot_id(char out[EVENT_BOOT_ID_SIZE], struct error *err);

/* What a record is about: a model, or else the start event with this text. */
struct event_content {
	const struct measure_event *model;
	const char *start;
};

/*
 * A framed record in fresh memory (caller frees). digests: the PCR and what is extended; before:
 * NULL or the values it starts from.
 */
int event_record_encode(const struct event_content *content, const struct pcr_values *digests,
			const struct pcr_values *before, const char *boot_id, uint8_t **ret,
			size_t *ret_size, struct error *err);

/*
 * Takes the record that bytes begin with; *ret_size is its length with framing.
 * 1: a record for a PCR; 0: a record for something else (an NV index); -ENODATA: cut short;
 * -EPROTO: malformed.
 */
int event_record_decode(const uint8_t *bytes, size_t size, struct event_record *ret,
			size_t *ret_size);

/* The statements of a record of ours about its event, unchecked. */
struct event_claim {
	struct model_digests digests; /* EVENT_MODEL: those that its mode measures, else zero */
	char *start;		      /* EVENT_START: its text; the caller frees it */
};

/*
 * bytes: one whole record, for which event_record_decode() returned 1, of kind EVENT_START or
 * EVENT_MODEL. -EPROTO: what the kind or mode needs is not there; -ENOMEM.
 */
int event_record_claim(const uint8_t *bytes, size_t size, struct event_claim *ret);
/*
 * The text that a record of systemd's log states to have been extended, as it is; the caller frees
 * *ret. bytes: as above, of kind EVENT_OTHER. -EPROTO: not systemd's, or without a text; -ENOMEM.
 */
int event_record_systemd_text(const uint8_t *bytes, size_t size, char **ret);

/* value = the PCR before the record, in the banks of value that it names; zero in others. */
void event_record_start(const struct event_record *record, struct pcr_values *value);
/* value = the PCR after extending it by the record's digests, in every bank of value. -EPROTO:
 * the record lacks a bank. */
int event_record_apply(const struct event_record *record, struct pcr_values *value);
/* The same for a record that need not name every bank: the others keep their value. */
int event_record_apply_named(const struct event_record *record, struct pcr_values *value);

#endif
