/*
 * pcr.h: reading PCR banks and extending one with an event, once.
 * Which bytes are hashed: attest/PCRS.md. Sources: TCG TPM 2.0 Part 3 (PCR_Extend, PCR_Read), TCG
 * CEL.
 */
#ifndef SEALEDFS_PCR_H
#define SEALEDFS_PCR_H

#include "attest/tpm.h"
#include "crypto/base/digest.h"

#include <stdbool.h>

#define PCR_COUNT 32	 /* of a Nitro Secure Module */
#define TPM_PCR_COUNT 24 /* of a TPM */
#define PCR_BANKS_MAX 4
#define PCR_DEFAULT 15
#define PCR_DEFAULT_NSM 16

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
/*
 * The values of the PCRs whose bit is set in selection, in one bank, ascending, joined. out:
 * digest_size() bytes for each. -EOPNOTSUPP: the TPM does not keep one of them in this bank.
 */
int pcr_read_selected(struct tpm *t, enum digest_alg bank, uint32_t selection, uint8_t *out,
		      struct error *err);
/* Extends digests->pcr by one digest for each bank given, in one command. -EIO. */
int pcr_extend(struct tpm *t, const struct pcr_values *digests, struct error *err);
/* True when both have the same banks with the same values. */
bool pcr_values_equal(const struct pcr_values *a, const struct pcr_values *b);
bool pcr_values_zero(const struct pcr_values *v);

/* True when software cannot reset this PCR and userspace may extend it: 0-15 only. */
bool pcr_is_allowed(unsigned pcr);
/* The same for a Nitro Secure Module, where 0-15 are the image's: 16-31. */
bool pcr_is_allowed_nsm(unsigned pcr);

/* What a model's measurement extends; the digest for each bank follows from it (PCRS.md). */
enum measure_mode {
	MEASURE_VERITY,
	MEASURE_SHA384,
	MEASURE_SHA256,
	MEASURE_DECLARED,
	MEASURE_SET, /* all members of a set at once, by the set's content digest */
	MEASURE_NONE,
};
/* Event texts begin with it, so a plaintext that begins with it cannot be measured by its bare
 * digest. */
#define MEASURE_TEXT_PREFIX "sealedfs:"

/* sha384 and sha256: some bank is extended by the bare digest of the model. */
bool measure_mode_is_bare(enum measure_mode mode);
int measure_mode_parse(const char *text, enum measure_mode *ret); /* 0 or -EINVAL */
const char *measure_mode_name(enum measure_mode mode);

struct model_digests {
	uint8_t verity[32];
	uint8_t sha256[32];
	uint8_t sha384[48];
	uint8_t set[32]; /* content digest; MEASURE_SET looks at no other */
};

/* The digest that mode extends into a bank. 0 or -EINVAL (MEASURE_NONE). out: digest_size(alg)
 * bytes. */
int measure_bank_digest(enum measure_mode mode, const struct model_digests *digests,
			enum digest_alg bank, uint8_t *out);
/*
 * The text that stands for the event: what every bank hashes in verity and declared, and what the
 * banks that have no digest of the model of their own hash in the bare modes. 0 or -EINVAL.
 */
#define MEASURE_TEXT_MAX 208
int measure_text(enum measure_mode mode, const struct model_digests *digests,
		 char out[MEASURE_TEXT_MAX]);
/* new = H_bank(old || digest), in place. */
int pcr_extend_value(enum digest_alg bank, uint8_t *value, const uint8_t *digest);

struct measure_event {
	enum measure_mode mode; /* not MEASURE_NONE */
	struct model_digests digests;
	const char *name; /* the model's path in the mount, or the set's name; for the log only */
	bool extended;	  /* set by measure_models(): it was not in the PCR before */
	/* MEASURE_SET: which set it was, for the log only. */
	uint8_t set_id[32];
	uint64_t set_version, set_members;
};

struct measure_options {
	unsigned pcr;
	const char *start;	      /* start_event.h; NULL: no start event */
	const char *log_path;	      /* NULL: tpm2-measure.log in runtime_dir() */
	const char *systemd_log_path; /* NULL: /run/log/systemd/tpm2-measure.log */
	const char *tcti;
	bool allow_foreign; /* continue if the log does not replay to the PCR's value */
};

/*
 * Makes the PCR show the start event and these events; missing ones are extended in this order.
 * Under the log's exclusive lock: replays the log against the PCR; events in the log's current
 * chain are skipped; every other event extends every active bank once, is read back and compared,
 * and its record is appended (CEL-JSON, RFC 7464) by the writer protocol. After a reset of the TPM
 * nothing is in the PCR, so everything is extended again. Safe against other processes doing the
 * same, and against their death at any point.
 * -EKEYREJECTED: the log does not replay to the PCR's value and allow_foreign is false (the message
 * shows both values); -EIO: the TPM did not execute the command; -EPROTO: the log is damaged;
 * -EINVAL: no such PCR or mode. Nothing is released to a reader unless this returned 0.
 *
 */
int measure_models(const struct measure_options *options, struct measure_event *events,
		   size_t count, struct error *err);
/* Nobody can extend the PCR any more until the enclave ends. -EOPNOTSUPP: a TPM cannot do that. */
int measure_lock(const struct measure_options *options, struct error *err);

#endif
