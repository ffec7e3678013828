/*
 * publish.h: what is sealed and where to, the moment at which it becomes visible, and how
 * everything before that is undone.
 */
#ifndef SEALEDFS_TOOLS_PUBLISH_H
#define SEALEDFS_TOOLS_PUBLISH_H

#include "attest/pcr.h"
#include "crypto/facts.h"
#include "crypto/set.h"
#include "fs/source/source.h"
#include "tools/seal/recipients.h"

#define SEALED_NOW UINT64_MAX

struct seal_result;

struct seal_request {
	struct source *dest;
	bool dest_is_s3;
	struct aws *aws; /* NULL without S3 and KMS */
	const struct recipients *recipients;
	const struct signing_key *signer; /* NULL: unsigned */
	uint64_t sealed_at;		  /* seconds since 1970; SEALED_NOW: as it is sealed */
	bool no_facts;
	bool is_gguf; /* it should be one, whatever its name is */
	bool remove_old;
	bool for_set; /* a seal that is there stays: the new one is pending beside it */
	bool quiet;
	size_t number, total; /* for the progress line: the third of 2000 files */
	/* Called when the plaintext has been read and its digests are known, before anything of it
	 * is visible; an error ends the sealing. NULL: nothing to do. */
	int (*before_publish)(void *arg, const struct seal_result *res, struct error *err);
	void *before_arg;
};

struct seal_result {
	char *seal_name, *payload_name; /* in dest */
	char *pending;			/* in place of seal_name, until the set names it; or NULL */
	uint8_t core_digest[SHA384_SIZE];
	uint8_t file_id[SEAL_FILE_ID_SIZE];
	uint64_t length;
	struct model_digests digests;
	struct facts facts; /* also when the seal does not state them */
	struct seal_slot slots[SEAL_SLOTS_MAX];
	unsigned slot_count;
	double seconds;
	bool replaced;	   /* a model of this name was there before */
	char *old_payload; /* the replaced model's payload, where it is known and still there */
	bool old_payload_removed;
};

/*
 * Commits the payload, then puts the seal over what was there under this name. On failure the
 * payload is removed. Then, with remove_old, removes the replaced model's payload; if that
 * fails, it is only warned about. Fills res->replaced, old_payload, old_payload_removed.
 */
int publish(const struct seal_request *req, struct source_writer *writer, const uint8_t *seal,
	    size_t seal_size, struct seal_result *res, struct error *err);
/* Aborts an unfinished payload, also after Ctrl-C stopped the network; warns when it cannot. */
void publish_undo(const struct seal_request *req, struct source_writer *writer);

/* SEALED_NOW, or $SOURCE_DATE_EPOCH, which replaces the clock in reproducible builds
 * (https://reproducible-builds.org/specs/source-date-epoch/). -EINVAL. */
int seal_time(uint64_t *ret, struct error *err);
void seal_result_clear(struct seal_result *r);

#endif
