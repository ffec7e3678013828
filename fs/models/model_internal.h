/*
 * model_internal.h: struct models and struct model, for model_*.c only.
 */
#ifndef SEALEDFS_MODELS_MODEL_INTERNAL_H
#define SEALEDFS_MODELS_MODEL_INTERNAL_H

#include "fs/models/model.h"

#include <pthread.h>
#include <stdatomic.h>

/* The interval at which the same message about a model is logged. */
#define LOG_AGAIN_MS 60000

struct model_waiter {
	struct model_waiter *next;
	model_opened *opened;
	void *arg;
};

enum model_state { MODEL_CLOSED, MODEL_OPENING, MODEL_OPEN, MODEL_CHECKING };

struct model {
	struct models *set;
	const struct view_node *node;

	pthread_mutex_t lock; /* guards what follows */
	enum model_state state;
	struct model_waiter *waiters;
	struct unlocked *unlocked; /* MODEL_CLOSED: its keys, if it has them; else NULL */
	struct read_file *file;	   /* set once, with MODEL_OPEN; then readable without the lock */
	_Atomic(struct resident *) resident; /* set with file; NULL: it cannot be resident */
	int logged_code;		     /* of the last failure that was logged */
	uint64_t logged_ms;
	uint64_t waits_logged_ms; /* 0: never */
	bool poison_logged;
	struct measurement measurement; /* set with file */
	int64_t unlocked_s;
	uint64_t unlock_failures;
	int refused_code;      /* of the last open, if trying again at once is useless; else 0 */
	unsigned refusals;     /* in a row */
	uint64_t ask_again_ms; /* after a refusal, not before this time */
	struct error *failed;  /* of the last unlocking; NULL: it succeeded, or there was none */
};

struct models {
	struct models_options options;
	atomic_bool stopping;

	pthread_mutex_t lock; /* guards busy */
	pthread_cond_t idle;
	unsigned busy; /* jobs in openers */

	size_t count;
	struct model items[];
};

/* True: this message about m may be logged now, and counts as logged. */
bool model_may_log(struct model *m, int code, uint64_t again_ms);

#endif
