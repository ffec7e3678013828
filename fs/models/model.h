/*
 * model.h: the files of the mount that can be opened. A model is unlocked and measured once, on its
 * first open or before the mount is ready, and stays so until unmount. If it is opened several
 * times at once, one open does the work and the others wait without occupying a thread.
 * model_open.c opens, model_set.c has the set and its state, model_log.c the log messages.
 *
 * No reader gets a struct read_file before every check has passed: the whole seal again, the
 * owner's signature, name, key, tables, payload size, in the bare modes the digests of the whole
 * plaintext, and the measurement in the PCR. A failed open is logged once, with what to do. The
 * next open tries again, but after a refusal only after a pause that grows from a second to five
 * minutes; until then it fails with the last refusal. Threads: any.
 */
#ifndef SEALEDFS_MODELS_MODEL_H
#define SEALEDFS_MODELS_MODEL_H

#include "fs/models/deferral.h"
#include "fs/models/options.h"

struct model;
struct models;

enum model_condition {
	MODEL_IS_SEALED, /* not opened yet, or opening failed: see why */
	MODEL_IS_UNLOCKING,
	MODEL_IS_UNLOCKED, /* not measured: not yet, or measure=none */
	MODEL_IS_MEASURED,
	MODEL_IS_POISONED, /* a chunk failed its check */
	MODEL_IS_BROKEN,   /* its seal cannot be used */
	MODEL_CONDITION_COUNT
};

/* The state of a model. */
struct model_look {
	enum model_condition condition;
	struct error why; /* code 0: no failure is known */
	struct measurement measurement;
	int64_t unlocked_s;	  /* since 1970; 0: not unlocked */
	uint64_t unlock_failures; /* opens that failed */
	bool has_stats;		  /* once it was unlocked */
	struct stats_snapshot stats;
	bool may_be_resident; /* residency is known */
	struct resident_look residency;
};

int models_new(const struct models_options *options, struct models **ret);
/* No read may be under way, and nothing in openers: see models_idle(). */
void models_free(struct models *m);
struct model *models_get(struct models *m, const struct view_node *file);
/* Ends all waiting and later opens with EINTR, and the log messages about failing reads. */
void models_stop(struct models *m);
/* None of them is to be in memory any more. True: none is. */
bool models_leave(struct models *m);
/* False: after wait_ms, a model is still being unlocked, waiting for a network or a TPM. */
bool models_idle(struct models *m, unsigned wait_ms);

/* Memory of a struct models for each file. */
size_t model_bytes(void);

/* Logs a line for each model that the view found broken, up to 1000; opens do not repeat it. */
void models_log_broken(struct models *m);

/* In the caller's thread, before the model is shown; log nothing. The first gets the keys
 * (ready=unlocked), the second measures too (ready=measured). */
int model_unlock_now(struct model *m, struct error *err);
/* Between the two: what will be measured, for measured_add(). False: unknown without reading the
 * model, or it has no keys yet. */
bool model_claim(struct model *m, struct measured_model *ret);
/* True: it has its keys, or it is open. */
bool model_has_key(struct model *m);
int model_open_now(struct model *m, struct error *err);

/* Ends an open that succeeded. */
void model_close(struct model *m);
/* The result of an open: 0 or a negative errno. Called once, from any thread, possibly before
 * model_open() has returned. */
typedef void model_opened(void *arg, struct model *m, int code);
/* True: the opener has gone meanwhile; the open ends with EINTR. Called once, after the open was
 * queued, because model_open_cancel() did not find it for an earlier signal. Called under a lock:
 * must not call functions of this header. */
typedef bool model_open_left(void *arg);
void model_open(struct model *m, model_opened *opened, model_open_left *left, void *arg);
/* After a reload: the next open does not wait because of an earlier refusal. */
void model_ask_again(struct model *m);
/* True: the waiting open with this arg was removed; opened() will not be called. */
bool model_open_cancel(struct model *m, const void *arg);

/* The mount shows it now: a model that is open already may be loaded into the page cache. */
void model_shown(struct model *m);
void *models_owner(const struct model *m);
/* True: unlocked and measured. */
bool model_is_open(struct model *m);
/* True: its payload failed a check; opening it again starts from the beginning. */
bool model_is_spoilt(struct model *m);

/* Neither waits for work in progress. */
void model_look(struct model *m, struct model_look *ret);
/* seal_copy_statement() of its seal. False: it was not unlocked yet. */
bool model_statement(struct model *m, uint8_t out[SEAL_STATEMENT_SIZE]);

/* For struct read_engine_options; target: the model. */
int model_store(void *target, uint64_t offset, const uint8_t *data, size_t size);
int model_introduce(void *target);

/* The plaintext, once an open has succeeded. */
struct read_file *model_file(struct model *m);
/* The same in memory; NULL: it cannot be there. */
struct resident *model_resident(struct model *m);

/* Counts and logs a failed read: a poisoned file once, other errors rate-limited. */
void model_read_failed(struct model *m, int code, const struct error *err);
/* Logs, rate-limited, that readers of this offset get their errors late. */
void model_readers_wait(struct model *m, uint64_t offset, const struct deferral_look *who);
uint64_t model_ino(const struct model *m);

DEFINE_CLEANUP(struct models *, models_free)

#endif
