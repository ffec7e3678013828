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

int pcr_read(struct tpm *t, unsigned pcr, struct pcr_values *ret, struct error *err);

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
/* new = H_bank(old || digest), in place. */
int pcr_extend_value(enum digest_alg bank, uint8_t *value, const uint8_t *digest);

struct measure_event {
	unsigned pcr;
	enum measure_mode mode; /* not MEASURE_NONE */
	struct model_digests digests;
	const char *name; /* the model's path in the mount, for the log only */
};

struct measure_options {
	const char *log_path; /* NULL: /run/sealedfs/tpm2-measure.log */
	const char *tcti;
	bool allow_foreign; /* go on when the log does not replay to the PCR's value */
};

enum measure_outcome { MEASURE_EXTENDED, MEASURE_ALREADY };

/*
 * Under the log's exclusive lock: replays the log against the PCR; if this event (same mode and
 * digests) is already in it since boot, does nothing; else extends every active bank once, reads
 * back and compares, appends the record (CEL-JSON, RFC 7464) by the writer protocol. Safe against
 * other processes doing the same. -EKEYREJECTED: the log does not replay to the PCR's value and
 * allow_foreign is false (the message shows both values); -EIO: the TPM did not do what was asked.
 * Nothing is released to a reader unless this returned 0.
 */
int measure_model(const struct measure_options *options, const struct measure_event *event,
		  enum measure_outcome *ret, struct error *err);

#endif
