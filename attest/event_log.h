/*
 * event_log.h: the measurement log, the file that lists what was extended into a PCR since boot.
 * One file for all PCRs and all daemons of a machine, mode 0600, appended to under flock(LOCK_EX).
 *
 * Writer protocol, which shows afterwards at which point a writer died (PCRS.md):
 *   event_log_begin()    the record goes to LOG.intent; the log's sticky bit is set
 *   (the caller extends the PCR)
 *   event_log_commit()   the record is appended; the bit is cleared; LOG.intent is removed
 *   event_log_abandon()  instead of commit: the extension did not happen
 *
 * A log object holds the lock until it is freed. Threads: one at a time per object.
 */
#ifndef SEALEDFS_EVENT_LOG_H
#define SEALEDFS_EVENT_LOG_H

#include "attest/event_record.h"

struct event_log;

#define EVENT_LOG_NAME "tpm2-measure.log" /* in runtime_dir() */
#define SYSTEMD_LOG "/run/log/systemd/tpm2-measure.log"
#define EVENT_LOG_SIZE_MAX ((size_t)4 << 20)

/*
 * Creates the file if it is missing, takes the lock and reads everything. -EPROTO: damaged;
 * -EPERM: not a file that only this user can write; -ETIMEDOUT: another process keeps the lock.
 *
 */
int event_log_open(const char *path, struct event_log **ret, struct error *err);
void event_log_free(struct event_log *l);

/* The record that a dead writer had announced; NULL: none. Valid until begin, commit, abandon. */
const struct event_record *event_log_intent(const struct event_log *l);
/* True when a writer died between begin and commit, with or without a readable intent. */
bool event_log_interrupted(const struct event_log *l);
/* True when the announced record is already the log's last one. */
bool event_log_intent_is_logged(const struct event_log *l);

/*
 * The value of value->pcr by the records of this boot, for the banks listed in value. *ret_known
 * is false, and the value zero, when there is no record. -EPROTO: a record lacks a bank.
 */
int event_log_replay(const struct event_log *l, struct pcr_values *value, bool *ret_known,
		     struct error *err);
/*
 * True when the current chain (from the last record with `before` on) has an event of this kind,
 * and for models of this mode, with these digests in every bank.
 */
bool event_log_has(const struct event_log *l, enum event_kind kind, enum measure_mode mode,
		   const struct pcr_values *digests);

int event_log_begin(struct event_log *l, const uint8_t *record, size_t size, struct error *err);
int event_log_commit(struct event_log *l, struct error *err);
int event_log_abandon(struct event_log *l, struct error *err);

/*
 * The value of value->pcr by another program's log of the same form, from zero, bank by bank: its
 * records name the banks that they extend. 0, or negative if the log cannot be read or has no
 * record for this PCR.
 */
int event_log_replay_foreign(const char *path, struct pcr_values *value);

/*
 * A copy of a log, this one's or another program's, for whoever wants to know what it says; the
 * caller frees. Waits for a writer. -ENOENT, without a message: there is none; -EFBIG; -ETIMEDOUT.
 */
int event_log_copy(const char *path, uint8_t **ret, size_t *ret_size, struct error *err);

DEFINE_CLEANUP(struct event_log *, event_log_free)
#define _cleanup_event_log_ _cleanup_(event_log_freep)

#endif
