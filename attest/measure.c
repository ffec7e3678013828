/*
 * Measuring a model. Job: one extension a model and boot, recorded, and the truth about it in
 * every case. Trusts the PCR above the log: the log explains the PCR, never the other way round.
 * Must never report success unless this model is in the PCR and in the log, and never extend twice.
 */
#include "attest/event_log.h"
#include "attest/pcr.h"
#include "attest/runtime_dir.h"
#include "crypto/base/encode.h"
#include "crypto/base/log.h"

#include <errno.h>
#include <string.h>

#define LOG_NAME "tpm2-measure.log"
#define SYSTEMD_LOG "/run/log/systemd/tpm2-measure.log"
#define DIFFERENCE_MAX 720 /* four banks, twice, in hexadecimal */

struct measuring {
	const struct measure_options *options;
	const struct measure_event *event;
	struct tpm *tpm;
	struct event_log *log;
	struct pcr_values now;	   /* the event's PCR, as read */
	struct pcr_values digests; /* what the event extends */
	bool rebase;		   /* the record must say from which value it starts */
};

/* "sha256: the PCR has …, the log leads to …" for each bank that differs. */
static void describe(const struct pcr_values *has, const struct pcr_values *wants,
		     char out[DIFFERENCE_MAX])
{
	size_t at = 0;

	out[0] = '\0';
	for (size_t n = 0; n < has->bank_count; n++) {
		char a[2 * DIGEST_SIZE_MAX + 1], b[2 * DIGEST_SIZE_MAX + 1];
		size_t size = digest_size(has->banks[n].alg);
		int written;

		hex_encode(has->banks[n].value, size, a);
		hex_encode(wants->banks[n].value, size, b);
		written = snprintf(out + at, DIFFERENCE_MAX - at, "%s%s %s instead of %s",
				   at ? ", " : "", digest_name(has->banks[n].alg), a, b);
		if (written < 0 || (size_t)written >= DIFFERENCE_MAX - at)
			return;
		at += (size_t)written;
	}
}

static int refuse_foreign(const struct pcr_values *has, const struct pcr_values *wants, bool known,
			  struct error *err)
{
	char difference[DIFFERENCE_MAX];

	describe(has, wants, difference);
	if (known)
		error_set(err, -EKEYREJECTED,
			  "PCR %u does not hold what the measurement log says; someone else "
			  "extended it: %s",
			  has->pcr, difference);
	else
		error_set(err, -EKEYREJECTED,
			  "PCR %u is not zero although no model was measured into it; someone "
			  "else extended it: %s",
			  has->pcr, difference);
	error_hint(err, "use a PCR that nobody else extends, or allow foreign values: consumers "
			"will then see a value that 'sealctl hash' does not predict");
	return -EKEYREJECTED;
}

/* systemd extends PCR 15 on machines booted from a measured UKI, and logs it. */
static bool systemd_explains(const struct measuring *m)
{
	const char *path = m->options->systemd_log_path;
	struct pcr_values value = m->now;

	return event_log_replay_foreign(path ? path : SYSTEMD_LOG, &value) == 0 &&
	       pcr_values_equal(&value, &m->now);
}

/*
 * A writer died. What it announced either happened or did not, and the PCR says which. Values that
 * fit neither are someone else's extension, which the caller then finds by itself.
 */
static int recover(struct measuring *m, struct error *err)
{
	const struct event_record *intent = event_log_intent(m->log);
	struct pcr_values has, without, with;
	bool known;
	int e;

	if (!intent || event_log_intent_is_logged(m->log))
		return event_log_abandon(m->log, err);
	e = pcr_read(m->tpm, intent->digests.pcr, &has, err);
	if (e < 0)
		return e;
	if (pcr_values_zero(&has))
		return event_log_abandon(m->log, err);
	without = has;
	if (intent->has_before)
		event_record_start(intent, &without);
	else
		e = event_log_replay(m->log, &without, &known, err);
	if (e < 0)
		return e;
	with = without;
	e = event_record_apply(intent, &with);
	if (e < 0)
		return error_set(err, e, "the announced record lacks a bank that the TPM has");
	if (!pcr_values_equal(&has, &with))
		return event_log_abandon(m->log, err);
	log_debug("recording an extension of PCR %u whose writer died", has.pcr);
	return event_log_commit(m->log, err);
}

/* 1: already measured; 0: to be extended. */
static int judge(struct measuring *m, struct error *err)
{
	struct pcr_values logged = m->now;
	bool known, foreign;
	int e;

	if (pcr_values_zero(&m->now)) {
		/* Fresh since a reset of the TPM, whatever older records say. */
		m->rebase = true;
		return 0;
	}
	e = event_log_replay(m->log, &logged, &known, err);
	if (e < 0)
		return e;
	foreign = known ? !pcr_values_equal(&logged, &m->now) : !systemd_explains(m);
	if (foreign && !m->options->allow_foreign)
		return refuse_foreign(&m->now, &logged, known, err);
	if (known && event_log_has(m->log, m->event->mode, &m->digests))
		return 1;
	m->rebase = !known || foreign;
	return 0;
}

static int extend(struct measuring *m, struct error *err)
{
	struct pcr_values wanted = m->now, after;
	char boot_id[EVENT_BOOT_ID_SIZE], difference[DIFFERENCE_MAX];
	_cleanup_free_ uint8_t *record = NULL;
	size_t size = 0;
	int e = event_boot_id(boot_id, err);

	if (e < 0)
		return e;
	e = event_record_encode(m->event, &m->digests, m->rebase ? &m->now : NULL, boot_id, &record,
				&size, err);
	if (e < 0)
		return e;
	for (size_t n = 0; n < wanted.bank_count; n++) {
		e = pcr_extend_value(wanted.banks[n].alg, wanted.banks[n].value,
				     m->digests.banks[n].value);
		if (e < 0)
			return error_set(err, e, "cannot compute a PCR value");
	}
	e = event_log_begin(m->log, record, size, err);
	if (e < 0)
		return e;
	/* From here on an error leaves the announcement: the next call finds out what happened. */
	e = pcr_extend(m->tpm, &m->digests, err);
	if (e < 0)
		return e;
	e = pcr_read(m->tpm, m->event->pcr, &after, err);
	if (e < 0)
		return e;
	if (!pcr_values_equal(&after, &wanted)) {
		describe(&after, &wanted, difference);
		return error_set(err, -EIO,
				 "PCR %u has another value than it must have after measuring: %s",
				 m->event->pcr, difference);
	}
	return event_log_commit(m->log, err);
}

static int compute_digests(struct measuring *m, struct error *err)
{
	m->digests = m->now;
	for (size_t n = 0; n < m->digests.bank_count; n++) {
		struct pcr_bank_value *bank = &m->digests.banks[n];
		int e = measure_bank_digest(m->event->mode, &m->event->digests, bank->alg,
					    bank->value);

		if (e < 0)
			return error_set(err, e, "cannot compute the digest for bank %s",
					 digest_name(bank->alg));
	}
	return 0;
}

static int check_event(const struct measure_event *event, struct error *err)
{
	char text[MEASURE_TEXT_MAX];

	if (!pcr_is_allowed(event->pcr)) {
		error_set(err, -EINVAL, "PCR %u cannot hold a model's measurement", event->pcr);
		error_hint(err, "use one of 0 to 15: software can reset 16 and 23, and 17 to 22 "
				"are not for user space");
		return -EINVAL;
	}
	if (measure_text(event->mode, &event->digests, text) < 0)
		return error_set(err, -EINVAL, "measuring mode %s has nothing to extend",
				 measure_mode_name(event->mode));
	return 0;
}

static int default_log_path(char **ret, struct error *err)
{
	if (asprintf(ret, "%s/" LOG_NAME, runtime_dir()) < 0) {
		*ret = NULL;
		return error_set(err, -ENOMEM, "out of memory");
	}
	return 0;
}

int measure_model(const struct measure_options *options, const struct measure_event *event,
		  enum measure_outcome *ret, struct error *err)
{
	_cleanup_free_ char *default_path = NULL;
	_cleanup_event_log_ struct event_log *log = NULL;
	_cleanup_tpm_ struct tpm *tpm = NULL;
	struct measuring m = {.options = options, .event = event};
	const char *path = options->log_path;
	int e = check_event(event, err);

	if (e < 0)
		return e;
	if (!path) {
		e = default_log_path(&default_path, err);
		if (e < 0)
			return e;
		path = default_path;
	}
	e = event_log_open(path, &log, err);
	if (e < 0)
		return e;
	e = tpm_open(options->tcti, &tpm, err);
	if (e < 0)
		return e;
	m.log = log;
	m.tpm = tpm;
	if (event_log_interrupted(log)) {
		e = recover(&m, err);
		if (e < 0)
			return e;
	}
	e = pcr_read(tpm, event->pcr, &m.now, err);
	if (e < 0)
		return e;
	e = compute_digests(&m, err);
	if (e < 0)
		return e;
	e = judge(&m, err);
	if (e < 0)
		return e;
	*ret = e == 1 ? MEASURE_ALREADY : MEASURE_EXTENDED;
	return e == 1 ? 0 : extend(&m, err);
}
