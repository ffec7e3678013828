/*
 * verdict.h: what evidence proves (VERDICT.md): document, logs, seals and expectations in, steps
 * and a sentence out. Pure: no TPM, no network, no files, no clock.
 *
 * Everything in a request is borrowed for the call. Names and labels come from outside and are
 * printed safely by the caller. Threads: any, each with its own objects.
 */
#ifndef SEALEDFS_VERDICT_H
#define SEALEDFS_VERDICT_H

#include "attest/document.h"
#include "attest/measurements.h"
#include "attest/start_event.h"
#include "crypto/set.h"

#define VERDICT_MAX_AGE_S 300	   /* the default */
#define VERDICT_FUTURE_S 60	   /* clocks differ */
#define VERDICT_LOG_MAX 4194304	   /* bytes of a log */
#define VERDICT_SEALS_MAX 1024	   /* heads */
#define VERDICT_SETS_MAX 64	   /* heads */
#define VERDICT_SEAL_HEAD_MAX 8192 /* bytes of one */
#define VERDICT_TLS_PREFIX "sealedfs:tls:sha256:"

enum verdict_step {
	STEP_DECODE,
	STEP_FIELDS,
	STEP_CHAIN,
	STEP_SIGNATURE,
	STEP_FRESHNESS,
	STEP_TLS,
	STEP_BOOT,
	STEP_LOG,
	STEP_MODEL,
	STEP_OWNER,
	STEP_COUNT,
};

enum verdict_status { STATUS_NOT_ASKED, STATUS_PASSED, STATUS_FAILED };

/* Kinds of digest of a model: bits. */
enum {
	DIGEST_OF_SHA256 = 1,
	DIGEST_OF_SHA384 = 2,
	DIGEST_OF_VERITY = 4,
	DIGEST_OF_SET = 8, /* content digest of a set, which counts as one model */
};

struct verdict_model {
	const char *label; /* NULL: none */
	unsigned kinds;	   /* which of the digests are known; not 0 */
	struct model_digests digests;
};

/* A value that a PCR may have. Several for one PCR are alternatives. */
struct verdict_boot {
	unsigned pcr;
	uint8_t value[MEASUREMENTS_PCR_SIZE];
};

struct verdict_request {
	struct bytes_view document;
	struct bytes_view root; /* DER; absent: AWS's */
	int64_t time_s;		/* since 1970, UTC: when the document is judged */
	struct bytes_view nonce;
	bool has_max_age;
	uint64_t max_age_s;
	const uint8_t *tls_key; /* SHA-256 of the peer's SubjectPublicKeyInfo; NULL: not asked */
	const struct verdict_boot *boot;
	size_t boot_count;
	/* At most VERDICT_LOG_MAX bytes. absent: none; present and empty: a log without records. */
	struct bytes_view event_log, systemd_log;
	unsigned pcr; /* 0 to 15 */
	const struct verdict_model *models;
	size_t model_count;
	unsigned modes; /* bits 1 << enum measure_mode; 0: not asked */
	struct seal *const *seals;
	size_t seal_count;
	struct set *const *sets; /* of set_parse_statement(), or whole */
	size_t set_count;
	const char *const *members; /* paths that a set in the PCR must name */
	size_t member_count;
	const struct owner_keys *owners; /* not NULL; empty: not asked */
	const char *const *owner_names;	 /* by owner_keys_owner() */
	const char *attest;		 /* start facts of a mount without an event log */
	char *const *kms_keys;
	size_t kms_key_count;
	bool allow_debug;
};

/* A model that the PCR holds. */
struct held_model {
	enum measure_mode mode;
	unsigned measured; /* kinds that the PCR binds */
	unsigned kinds;	   /* and those that a signed seal adds */
	struct model_digests digests;
	const char *owner; /* name of the owner that signed its seal; NULL: no expected one did */
	bool has_seal;	   /* or the head of a set; of whomever */
	uint64_t version;  /* of a set, which that owner signed; else 0 */
	char *name;
};

/* A member that was asked for. */
struct held_member {
	char *path;
	uint64_t length;
	uint8_t verity[32];
	bool is_stated; /* by an expected owner: the other digests, which the PCR does not bind */
	uint8_t sha256[SHA256_SIZE], sha384[SHA384_SIZE];
};

struct verdict {
	struct {
		enum verdict_status status;
		char *reason; /* of a failed step */
	} steps[STEP_COUNT];
	enum exit_code exit_code; /* EXIT_CODE_OK, _NOT_AUTHENTIC or _REFUSED */
	char *sentence;
	/* Of a document that decoded, perhaps not authentic. NULL: it did not decode. */
	struct attest_doc *document;
	int64_t age_s; /* may be negative */
	/* What the PCR holds; empty unless known. */
	bool holds_known;
	struct held_model *models;
	size_t model_count;
	char **starts; /* texts */
	size_t start_count;
	struct held_member *members; /* those that were asked for, if the step model passed */
	size_t member_count;
	size_t unknown_count; /* events */
	size_t systemd_count;
};

/* 0 with *ret (also for evidence that fails), -ENOMEM, -EINVAL: a request that asks nothing that
 * can be judged (models, modes or owners without a log and models), or a root that is no
 * certificate. */
int verdict_judge(const struct verdict_request *req, struct verdict **ret, struct error *err);
void verdict_free(struct verdict *v);

static inline bool verdict_ok(const struct verdict *v)
{
	return v->exit_code == EXIT_CODE_OK;
}

const char *verdict_step_name(enum verdict_step step);	     /* "decode" */
const char *verdict_status_name(enum verdict_status status); /* "not asked" */

/* The one certificate of a file, PEM or DER; the caller frees *ret. -EPROTO, -ENOMEM. */
int verdict_root_parse(const void *bytes, size_t size, uint8_t **ret, size_t *ret_size);
/* True for an enclave in debug mode: it states no measurement of its code. */
bool verdict_is_debug(const struct attest_doc *d);

/* DER of AWS's root for both kinds of document. */
extern const uint8_t verdict_aws_root[];
extern const size_t verdict_aws_root_size;

DEFINE_CLEANUP(struct verdict *, verdict_free)

#endif
