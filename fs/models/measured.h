/*
 * measured.h: the models that this daemon has measured and still serves, in their order, and
 * whether the PCR shows them. Threads: any. All functions but measured_is_fresh() and
 * measured_look() may wait for the TPM and for the lock of the measurement log.
 */
#ifndef SEALEDFS_MODELS_MEASURED_H
#define SEALEDFS_MODELS_MEASURED_H

#include "attest/pcr.h"
#include "crypto/base/pool.h"

struct measured;

/* options: its pointers must stay valid for the object's life. mode: MEASURE_NONE: nothing is ever
 * measured. */
int measured_new(const struct measure_options *options, enum measure_mode mode,
		 struct measured **ret);
/* Before anything is measured: other options, and a mode that is not MEASURE_NONE, like the first.
 */
void measured_change(struct measured *m, const struct measure_options *options);
void measured_free(struct measured *m);

/*
 * Measures models, in this order, after all that are here, which are measured again if the TPM was
 * reset. key: the caller's; a key that is here already is skipped. Errors as measure_models(); then
 * some of the models may be in the PCR.
 */
struct measured_model {
	const void *key;
	struct measure_event event;
};
int measured_add(struct measured *m, const struct measured_model *models, size_t count,
		 struct error *err);
/* True: the key is here. *ret_earlier: the PCR had the event before that. */
bool measured_has(struct measured *m, const void *key, bool *ret_earlier);
/* The model is no longer served; the PCR keeps it. Does nothing for a key that is not here. */
void measured_drop(struct measured *m, const void *key);

/* True: the PCR showed everything that is here, at most a second ago. */
bool measured_is_fresh(struct measured *m);
/*
 * Reads the PCR. After a reset of the TPM, everything here is measured again, in its order. An
 * error means that the PCR does not show the models that are served; errors as measure_models().
 */
int measured_check(struct measured *m, struct error *err);
/* Does measured_check() in a thread of the pool, unless that was done in the last 15 seconds; logs
 * an error. Does not wait. */
void measured_check_soon(struct measured *m, struct pool *pool);
/* False: after wait_ms, that check is still waiting for a TPM. */
bool measured_idle(struct measured *m, unsigned wait_ms);
/* Why the PCR did not show the models that are served when it was last read; code 0: it did, or no
 * model is served. */
void measured_look(struct measured *m, struct error *ret);

DEFINE_CLEANUP(struct measured *, measured_free)

#endif
