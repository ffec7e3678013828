/*
 * model.h: the files of the mount that can be opened. A model is unlocked and measured once, on its
 * first open (or at mount), and stays so until unmount; however many open it at the same time, one
 * does the work and the others wait without taking a thread.
 *
 * No reader gets a struct read_file before everything has passed: the whole seal again, owner's
 * signature, name, key, tables, payload size, in the flat modes the digests of the whole
 * plaintext, and the measurement in the PCR. A failed open is logged here, once, with what to do;
 * the next open tries anew. Threads: any.
 */
#ifndef SEALEDFS_MODEL_H
#define SEALEDFS_MODEL_H

#include "attest/pcr.h"
#include "fs/read/pool.h"
#include "fs/read/read.h"
#include "fs/unlock/unlock.h"
#include "fs/view/view.h"

struct model;
struct models;

/* What unlocking put into the PCR. */
struct measurement {
	bool done; /* false: measure=none, or not unlocked */
	enum measure_mode mode;
	unsigned pcr;
	bool earlier; /* since boot, by an earlier open */
	char event[MEASURE_TEXT_MAX];
};

enum model_condition {
	MODEL_IS_SEALED, /* nobody has opened it, or nobody could: see why */
	MODEL_IS_UNLOCKING,
	MODEL_IS_UNLOCKED, /* not measured: not yet, or measure=none */
	MODEL_IS_MEASURED,
	MODEL_IS_POISONED, /* a chunk failed its check */
	MODEL_IS_BROKEN,   /* its seal cannot be used */
	MODEL_CONDITION_COUNT
};

/* How a model is now. */
struct model_look {
	enum model_condition condition;
	struct error why; /* code 0: nothing is wrong, as far as was looked */
	struct measurement measurement;
	int64_t unlocked_s;	  /* since 1970; 0: not unlocked */
	uint64_t unlock_failures; /* opens that failed */
	bool has_stats;		  /* once it was unlocked */
	struct stats_snapshot stats;
};

/* Everything is borrowed and must outlive the models. */
struct models_options {
	struct source *source;
	const struct view *view;
	const struct owner_keys *owners; /* may be empty */
	struct unlock *unlock;
	struct read_engine *engine;
	enum measure_mode measure;
	unsigned pcr;
	struct measure_options measure_options;
	/* Has the kernel drop its pages of a file from offset on, and what it knows of its size.
	 * May wait for reads that are under way. */
	void (*forget_pages)(void *arg, uint64_t ino, uint64_t offset);
	/* Gives the kernel pages of a file; as read_store. */
	int (*store_pages)(void *arg, uint64_t ino, uint64_t offset, const uint8_t *data,
			   size_t size);
	/* Looks a file up through the mount, by its path in it, so that the kernel knows it. */
	int (*introduce)(void *arg, const char *path);
	void *forget_arg;     /* for all three */
	struct pool *openers; /* where models are unlocked */
	void *owner;	      /* models_owner() */
};

int models_new(const struct models_options *options, struct models **ret);
/* No read may be under way, and nothing in openers: see models_idle(). */
void models_free(struct models *m);
struct model *models_get(struct models *m, const struct view_node *file);
/* Answers all opens that wait, and later ones, with EINTR; ends the log lines of failing reads. */
void models_stop(struct models *m);
/* False: after wait_ms something still unlocks a model, held up by a network or a TPM. */
bool models_idle(struct models *m, unsigned wait_ms);

/* One line for each model that the view found broken; its opens do not repeat it. */
void models_log_broken(struct models *m);

/* In the caller's thread, before anybody else has the model; log nothing. The first gets the keys
 * (unlock=mount), the second measures too (measure-when=mount). */
int model_unlock_now(struct model *m, struct error *err);
int model_open_now(struct model *m, struct error *err);

/* How an open ended: 0 or the negative errno for whoever opened. Called once, from any thread,
 * perhaps before model_open() has returned. */
typedef void model_opened(void *arg, struct model *m, int code);
void model_open(struct model *m, model_opened *opened, void *arg);
/* True: the waiting open with this arg was taken out, opened() will not be called. */
bool model_open_cancel(struct model *m, const void *arg);

void *models_owner(const struct model *m);
/* True: unlocked and measured. */
bool model_is_open(struct model *m);
/* True: something was wrong with its payload; another try would begin from nothing. */
bool model_is_spoilt(struct model *m);

/* Never blocks on what is under way. */
void model_look(struct model *m, struct model_look *ret);

/* For struct read_engine_options; target: the model. */
int model_store(void *target, uint64_t offset, const uint8_t *data, size_t size);
int model_introduce(void *target);

/* The plaintext, once an open has succeeded. */
struct read_file *model_file(struct model *m);

/*
 * End of file instead of errors without end, see breaker.h. Both: true: answer with 0 bytes and
 * then call model_answered(). model_read_failed() also logs (a poisoned file once, other errors now
 * and then).
 */
bool model_is_cut(struct model *m, uint64_t offset);
bool model_read_failed(struct model *m, uint64_t offset, int code, const struct error *err);
void model_answered(struct model *m);
/* The size that attributes have to show. */
uint64_t model_size(struct model *m);

DEFINE_CLEANUP(struct models *, models_free)

#endif
