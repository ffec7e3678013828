/*
 * Measuring models. Job: extend each event into the PCR once, record it, and report correctly in
 * every case. Trusts the PCR over the log: the log explains the PCR, never the other way round.
 * Must never report success unless every event is in the PCR and in the log, and never extend an
 * event again that the PCR shows.
 */
#include "attest/event_log.h"
#include "attest/nsm.h"
#include "attest/pcr.h"
#include "attest/runtime_dir.h"
#include "attest/start_event.h"
#include "crypto/base/encode.h"
#include "crypto/base/log.h"

#include <errno.h>
#include <string.h>

#define DIFFERENCE_MAX 720 /* four banks, twice, in hexadecimal */

struct measuring {
	const struct measure_options *options;
	struct tpm *tpm;
	struct event_log *log;
	struct pcr_values now; /* the PCR */
	bool empty;	       /* the PCR has nothing of what the log lists */
	bool rebase;	       /* the next record must state the value that it starts from */
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
 * A writer died. The PCR shows whether the announced extension happened. If the value fits neither
 * case, another program extended the PCR; the caller detects that.
 */
static int recover(struct measuring *m, struct error *err)
{
	const struct event_record *intent = event_log_intent(m->log);
	struct pcr_values has, without, with;
	bool known;
	int r;

	if (!intent || event_log_intent_is_logged(m->log))
		return event_log_abandon(m->log, err);
	r = pcr_read(m->tpm, intent->digests.pcr, &has, err);
	if (r < 0)
		return r;
	if (pcr_values_zero(&has))
		return event_log_abandon(m->log, err);
	without = has;
	if (intent->has_before)
		event_record_start(intent, &without);
	else
		r = event_log_replay(m->log, &without, &known, err);
	if (r < 0)
		return r;
	with = without;
	r = event_record_apply(intent, &with);
	if (r < 0)
		return error_set(err, r, "the announced record lacks a bank that the TPM has");
	if (!pcr_values_equal(&has, &with))
		return event_log_abandon(m->log, err);
	log_debug("recording an extension of PCR %u whose writer died", has.pcr);
	return event_log_commit(m->log, err);
}

static int judge(struct measuring *m, struct error *err)
{
	struct pcr_values logged = m->now;
	bool known, foreign;
	int r;

	if (pcr_values_zero(&m->now)) {
		/* Fresh since a reset of the TPM, whatever older records say. */
		m->empty = m->rebase = true;
		return 0;
	}
	r = event_log_replay(m->log, &logged, &known, err);
	if (r < 0)
		return r;
	foreign = known ? !pcr_values_equal(&logged, &m->now) : !systemd_explains(m);
	if (foreign && !m->options->allow_foreign)
		return refuse_foreign(&m->now, &logged, known, err);
	m->empty = m->rebase = !known || foreign;
	return 0;
}

static int extend(struct measuring *m, const struct event_content *content,
		  const struct pcr_values *digests, struct error *err)
{
	struct pcr_values wanted = m->now, after;
	char boot_id[EVENT_BOOT_ID_SIZE], difference[DIFFERENCE_MAX];
	_cleanup_free_ uint8_t *record = NULL;
	size_t size = 0;
	int r = event_boot_id(boot_id, err);

	if (r < 0)
		return r;
	r = event_record_encode(content, digests, m->rebase ? &m->now : NULL, boot_id, &record,
				&size, err);
	if (r < 0)
		return r;
	for (size_t n = 0; n < wanted.bank_count; n++) {
		r = pcr_extend_value(wanted.banks[n].alg, wanted.banks[n].value,
				     digests->banks[n].value);
		if (r < 0)
			return error_set(err, r, "cannot compute a PCR value");
	}
	r = event_log_begin(m->log, record, size, err);
	if (r < 0)
		return r;
	/* From here on an error leaves the announcement in place: the next call finds out what
	 * happened. */
	r = pcr_extend(m->tpm, digests, err);
	if (r < 0)
		return r;
	r = pcr_read(m->tpm, wanted.pcr, &after, err);
	if (r < 0)
		return r;
	if (!pcr_values_equal(&after, &wanted)) {
		describe(&after, &wanted, difference);
		return error_set(err, -EIO,
				 "PCR %u has another value than it must have after measuring: %s",
				 wanted.pcr, difference);
	}
	r = event_log_commit(m->log, err);
	if (r < 0)
		return r;
	m->now = wanted;
	m->empty = m->rebase = false;
	return 0;
}

static int compute_digests(const struct measuring *m, const struct event_content *content,
			   struct pcr_values *ret, struct error *err)
{
	*ret = m->now;
	for (size_t n = 0; n < ret->bank_count; n++) {
		struct pcr_bank_value *bank = &ret->banks[n];
		int r;

		if (content->model)
			r = measure_bank_digest(content->model->mode, &content->model->digests,
						bank->alg, bank->value);
		else
			r = digest_buffer(bank->alg, content->start, strlen(content->start),
					  bank->value);
		if (r < 0)
			return error_set(err, r, "cannot compute the digest for bank %s",
					 digest_name(bank->alg));
	}
	return 0;
}

/* 1: it was not in the PCR, and is now. 0: it was. */
static int ensure(struct measuring *m, const struct event_content *content, struct error *err)
{
	enum event_kind kind = content->model ? EVENT_MODEL : EVENT_START;
	enum measure_mode mode = content->model ? content->model->mode : MEASURE_NONE;
	struct pcr_values digests;
	int r = compute_digests(m, content, &digests, err);

	if (r < 0)
		return r;
	if (!m->empty && event_log_has(m->log, kind, mode, &digests))
		return 0;
	r = extend(m, content, &digests, err);
	return r < 0 ? r : 1;
}

static int ensure_all(struct measuring *m, struct measure_event *events, size_t count,
		      struct error *err)
{
	const char *start = m->options->start;
	int r = start && count > 0 ? ensure(m, &(struct event_content){.start = start}, err) : 0;

	for (size_t n = 0; r >= 0 && n < count; n++) {
		r = ensure(m, &(struct event_content){.model = &events[n]}, err);
		events[n].extended = r == 1;
	}
	return MIN(r, 0);
}

static int check_request(const struct measure_options *options, const struct measure_event *events,
			 size_t count, struct error *err)
{
	char text[MEASURE_TEXT_MAX];

	if (tpm_is_nsm(options->tcti) && !pcr_is_allowed_nsm(options->pcr)) {
		error_set(err, -EINVAL, "PCR %u cannot hold a model's measurement", options->pcr);
		error_hint(err, "use one of 16 to 31: in a Nitro Enclave 0 to 15 are the image's");
		return -EINVAL;
	}
	if (!tpm_is_nsm(options->tcti) && !pcr_is_allowed(options->pcr)) {
		error_set(err, -EINVAL, "PCR %u cannot hold a model's measurement", options->pcr);
		error_hint(err, "use one of 0 to 15: software can reset 16 and 23, and 17 to 22 "
				"are not for user space");
		return -EINVAL;
	}
	for (size_t n = 0; n < count; n++) {
		enum measure_mode mode = events[n].mode;

		if (measure_text(mode, &events[n].digests, text) < 0)
			return error_set(err, -EINVAL, "measuring mode %s has nothing to extend",
					 measure_mode_name(mode));
		if (options->start && !start_event_needed(mode))
			return error_set(err, -EINVAL, "measuring mode %s has no start event",
					 measure_mode_name(mode));
	}
	return 0;
}

static int default_log_path(char **ret, struct error *err)
{
	if (asprintf(ret, "%s/" EVENT_LOG_NAME, runtime_dir()) < 0) {
		*ret = NULL;
		return error_set(err, -ENOMEM, "out of memory");
	}
	return 0;
}

int measure_models(const struct measure_options *options, struct measure_event *events,
		   size_t count, struct error *err)
{
	_cleanup_free_ char *default_path = NULL;
	_cleanup_event_log_ struct event_log *log = NULL;
	_cleanup_tpm_ struct tpm *tpm = NULL;
	struct measuring m = {.options = options};
	const char *path = options->log_path;
	int r = check_request(options, events, count, err);

	if (r < 0)
		return r;
	if (!path) {
		r = default_log_path(&default_path, err);
		if (r < 0)
			return r;
		path = default_path;
	}
	r = event_log_open(path, &log, err);
	if (r < 0)
		return r;
	r = tpm_open(options->tcti, &tpm, err);
	if (r < 0)
		return r;
	m.log = log;
	m.tpm = tpm;
	if (event_log_interrupted(log)) {
		r = recover(&m, err);
		if (r < 0)
			return r;
	}
	r = pcr_read(tpm, options->pcr, &m.now, err);
	if (r == 0)
		r = judge(&m, err);
	return r < 0 ? r : ensure_all(&m, events, count, err);
}

int measure_lock(const struct measure_options *options, struct error *err)
{
	int r;

	if (!tpm_is_nsm(options->tcti))
		return error_set(err, -EOPNOTSUPP, "the PCRs of a TPM cannot be locked");
	r = nsm_pcr_lock(tpm_choose(options->tcti), options->pcr, err);
	if (r == 0)
		log_info("PCR %u is locked", options->pcr);
	return r;
}
