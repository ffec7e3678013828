/*
 * unlock_internal.h: one attempt to open a seal or a set, for the files that try one kind of slot
 * each.
 */
#ifndef SEALEDFS_UNLOCK_INTERNAL_H
#define SEALEDFS_UNLOCK_INTERNAL_H

#include "fs/unlock/no_means.h"
#include "fs/unlock/unlock.h"

#include <pthread.h>
#include <time.h>

#define WHERE_MAX (SLOT_KMS_ARN_MAX + 32)

/* What is left of a limited number of requests. */
struct tokens {
	unsigned left, max;
	time_t counted_s; /* CLOCK_MONOTONIC */
};

struct unlock {
	struct aws *aws;
	struct kms_recipients *recipients; /* NULL: no attestation */
	struct denial *denial;
	bool use_tpm;
	struct tpm_unseal_options tpm;
	struct keyfile **keyfiles;
	size_t keyfile_count;
	const char *const *pins;
	size_t pin_count;
	pthread_mutex_t lock; /* guards what follows */
	struct set_keys **sets;
	size_t set_count;
	struct tokens repeats, further;
};

/* A KMS key that was asked, and why that failed, in short. */
struct kms_note {
	char where[WHERE_MAX];
	char why[112];
};

/* One seal or set being opened: what was tried, and the failure that says most. */
struct attempt {
	struct unlock *u;
	const struct sealed_head *head;
	const uint8_t *id;	 /* file id or set id */
	const struct seal *seal; /* or */
	const struct set *set;
	const char *name;
	unsigned tried, asked;		       /* asked: KMS keys */
	unsigned passed_over;		       /* KMS slots */
	char not_asked[UNLOCK_RECIPIENTS_MAX]; /* the first of them, and why */
	struct kms_note notes[UNLOCK_KMS_ASKED_MAX];
	unsigned note_count;
	struct error worst;
};

/* Notes a failure, if it says more than the ones before. */
void attempt_failed(struct attempt *a, const struct error *err, int code);
/* 0 when the key is this seal's, and *ret owns it; else it is freed. */
int attempt_take(struct attempt *a, struct secret *key, const char *where, struct secret **ret,
		 struct error *err);

bool unlock_take_token(struct unlock *u, struct tokens *t);
void unlock_return_tokens(struct unlock *u, struct tokens *t, unsigned count);

/* kms_slots.c. -ENOKEY: no KMS slot opened it; -ECANCELED. */
int attempt_kms(struct attempt *a, struct secret **ret, struct error *err);
/* After everything failed: the failure that says most, why each other KMS key failed, and which
 * ones had no say in it. */
int attempt_report(const struct attempt *a, struct error *err);
/* local_slots.c: what needs no network. -ENOKEY: no slot of this kind opened it. */
int attempt_keyfiles(struct attempt *a, struct secret **ret);
int attempt_tpm(struct attempt *a, struct secret **ret);

#endif
