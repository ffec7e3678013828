/*
 * pcr.h: reading PCR banks and extending one with an event, once.
 * Which bytes are hashed: attest/PCRS.md. Sources: TCG TPM 2.0 Part 3 (PCR_Extend, PCR_Read), TCG
 * CEL.
 */
#ifndef SEALEDFS_PCR_H
#define SEALEDFS_PCR_H

#include "attest/tpm.h"
#include "crypto/digest.h"

#include <stdbool.h>

#define PCR_COUNT 24
#define PCR_BANKS_MAX 4
#define PCR_DEFAULT 15

struct pcr_bank_value {
	enum digest_alg alg;
	uint8_t value[DIGEST_SIZE_MAX];
};

struct pcr_values {
	unsigned pcr;
	size_t bank_count; /* active banks, ascending algorithm id */
	struct pcr_bank_value banks[PCR_BANKS_MAX];
};

/* Every active bank. -EOPNOTSUPP: a bank is active whose algorithm this version cannot compute. */
int pcr_read(struct tpm *t, unsigned pcr, struct pcr_values *ret, struct error *err);
/* Extends digests->pcr by one digest for each bank given, in one command. -EIO. */
int pcr_extend(struct tpm *t, const struct pcr_values *digests, struct error *err);
/* True when both have the same banks with the same values. */
bool pcr_values_equal(const struct pcr_values *a, const struct pcr_values *b);
bool pcr_values_zero(const struct pcr_values *v);

/* True when software cannot reset this PCR and userspace may extend it: 0-15 only. */
bool pcr_is_allowed(unsigned pcr);

/* What a model's measurement extends; the digest for each bank follows from it (PCRS.md). */
enum measure_mode {
	MEASURE_VERITY,
	MEASURE_SHA384,
	MEASURE_SHA256,
	MEASURE_DECLARED,
	MEASURE_NONE,
};

int measure_mode_parse(const char *text, enum measure_mode *ret); /* 0 or -EINVAL */
const char *measure_mode_name(enum measure_mode mode);

struct model_digests {
	uint8_t verity[32];
	uint8_t sha256[32];
	uint8_t sha384[48];
};

/* The digest that mode extends into a bank. 0 or -EINVAL (MEASURE_NONE). out: digest_size(alg)
 * bytes. */
int measure_bank_digest(enum measure_mode mode, const struct model_digests *digests,
			enum digest_alg bank, uint8_t *out);
/*
 * The text that stands for the event: what every bank hashes in MEASURE_VERITY, and what the banks
 * that have no digest of the model of their own hash in the other modes. 0 or -EINVAL.
 */
#define MEASURE_TEXT_MAX 128
int measure_text(enum measure_mode mode, const struct model_digests *digests,
		 char out[MEASURE_TEXT_MAX]);
/* new = H_bank(old || digest), in place. */
int pcr_extend_value(enum digest_alg bank, uint8_t *value, const uint8_t *digest);

struct measure_event {
	unsigned pcr;
	enum measure_mode mode; /* not MEASURE_NONE */
	struct model_digests digests;
	const char *name; /* the model's path in the mount, for the log only */
};

struct measure_options {
	const char *log_path;	      /* NULL: tpm2-measure.log in runtime_dir() */
	const char *systemd_log_path; /* NULL: /run/log/systemd/tpm2-measure.log */
	const char *tcti;
	bool allow_foreign; /* go on when the log does not replay to the PCR's value */
};

enum measure_outcome { MEASURE_EXTENDED, MEASURE_ALREADY };

/*
 * Under the log's exclusive lock: replays the log against the PCR; if this event (same mode and
 * digests) is already in it since boot, does nothing; else extends every active bank once, reads
 * back and compares, appends the record (CEL-JSON, RFC 7464) by the writer protocol. Safe against
 * other processes doing the same, and against their death at any point. -EKEYREJECTED: the log
 * does not replay to the PCR's value and allow_foreign is false (the message shows both values);
 * -EIO: the TPM did not do what was asked; -EPROTO: the log is damaged; -EINVAL: no such PCR or
 * mode. Nothing is released to a reader unless this returned 0.
 */
int measure_model(const struct measure_options *options, const struct measure_event *event,
		  enum measure_outcome *ret, struct error *err);

#endif
