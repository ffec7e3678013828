/*
 * Replay of a machine's logs against the PCR of a document (PCRS.md, "Replay"; VERDICT.md, "What
 * the PCR holds"). Trusts nothing in a log: a record proves only what its digest proves, and the
 * PCR decides whether the records are all there is. Must never take a name or a mode from a record
 * whose digest does not bind it.
 */
#include "attest/verdict/verdict_internal.h"

#include "attest/event_record.h"

#include <errno.h>
#include <string.h>

struct entry {
	const uint8_t *bytes; /* of the record */
	size_t size;
	struct event_record record;
	uint8_t digest[SHA384_SIZE];
	bool has_digest;
};

struct entries {
	struct entry *items;
	size_t count, room;
	size_t malformed; /* number of the record that is, from 1; 0: none */
	char boot_id[EVENT_BOOT_ID_SIZE];
};

static void entries_clear(struct entries *e)
{
	free(e->items);
}

static const uint8_t *bank(const struct pcr_values *v)
{
	for (size_t i = 0; i < v->bank_count; i++)
		if (v->banks[i].alg == DIGEST_SHA384)
			return v->banks[i].value;
	return NULL;
}

static int keep(struct entries *e, const struct entry *entry)
{
	if (e->count == e->room) {
		size_t room = e->room ? 2 * e->room : 16;
		struct entry *grown = reallocarray(e->items, room, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		e->items = grown;
		e->room = room;
	}
	e->items[e->count++] = *entry;
	return 0;
}

/*
 * The records for one PCR. every: each of them must name the bank. Stops at the first malformed
 * record.
 */
static int read_log(struct bytes_view log, unsigned pcr, bool every, struct entries *e)
{
	size_t at = 0, number = 0;
	int r = 0;

	while (r == 0 && at < log.size) {
		struct entry entry = {.bytes = log.data + at};
		const uint8_t *digest;

		number++;
		r = event_record_decode(entry.bytes, log.size - at, &entry.record, &entry.size);
		if (r > 0 && entry.record.digests.pcr >= TPM_PCR_COUNT)
			r = -EPROTO;
		if (r < 0) {
			e->malformed = number;
			return 0;
		}
		at += entry.size;
		if (r > 0 && entry.record.kind != EVENT_OTHER)
			memcpy(e->boot_id, entry.record.boot_id, sizeof(e->boot_id));
		if (r == 0 || entry.record.digests.pcr != pcr) {
			r = 0;
			continue;
		}
		digest = bank(&entry.record.digests);
		if (!digest && every) {
			e->malformed = number;
			return 0;
		}
		entry.has_digest = digest != NULL;
		if (digest)
			memcpy(entry.digest, digest, sizeof(entry.digest));
		r = keep(e, &entry);
	}
	return r;
}

/* Records of ours of an earlier boot say nothing of this one's PCR. */
static void drop_other_boots(struct entries *e)
{
	size_t kept = 0;

	for (size_t i = 0; i < e->count; i++)
		if (e->items[i].record.kind == EVENT_OTHER ||
		    strcmp(e->items[i].record.boot_id, e->boot_id) == 0)
			e->items[kept++] = e->items[i];
	e->count = kept;
}

static size_t chain_start(const struct entries *e)
{
	size_t first = 0;

	for (size_t i = 0; i < e->count; i++)
		if (e->items[i].record.has_before)
			first = i;
	return first;
}

static bool is_zero(const uint8_t value[SHA384_SIZE])
{
	static const uint8_t zero[SHA384_SIZE];

	return memcmp(value, zero, sizeof(zero)) == 0;
}

static bool is_start(const char *text, const uint8_t digest[SHA384_SIZE], enum measure_mode *ret)
{
	uint8_t wanted[DIGEST_SIZE_MAX];
	struct start_claim claim;

	if (start_event_read(text, &claim) < 0 ||
	    digest_buffer(DIGEST_SHA384, text, strlen(text), wanted) < 0)
		return false;
	*ret = claim.measure;
	return memcmp(wanted, digest, SHA384_SIZE) == 0;
}

static bool is_model(const struct entry *e, const struct model_digests *digests)
{
	uint8_t wanted[DIGEST_SIZE_MAX];

	return measure_bank_digest(e->record.mode, digests, DIGEST_SHA384, wanted) == 0 &&
	       memcmp(wanted, e->digest, SHA384_SIZE) == 0;
}

/* started: bits of the modes whose start event came before. */
static int take_event(struct verdict *v, const struct entry *e, unsigned *started)
{
	struct event_claim claim = {.start = NULL};
	enum measure_mode mode;
	int r = e->record.kind == EVENT_OTHER ? -EPROTO
					      : event_record_claim(e->bytes, e->size, &claim);

	if (r == 0 && claim.start && is_start(claim.start, e->digest, &mode)) {
		*started |= 1U << mode;
		return held_add_start(v, claim.start);
	}
	if (r == 0 && !claim.start && is_model(e, &claim.digests) &&
	    (!start_event_needed(e->record.mode) || (*started & (1U << e->record.mode))))
		return held_add_model(v, e->record.mode, &claim.digests);
	free(claim.start);
	v->unknown_count++;
	return r == -ENOMEM ? r : 0;
}

/* The value that systemd's log leads to from zero. *ret_count: its extensions. */
static void replay_systemd(const struct entries *e, uint8_t value[SHA384_SIZE], size_t *ret_count)
{
	memset(value, 0, SHA384_SIZE);
	*ret_count = 0;
	for (size_t i = 0; i < e->count; i++)
		if (e->items[i].has_digest &&
		    pcr_extend_value(DIGEST_SHA384, value, e->items[i].digest) == 0)
			(*ret_count)++;
}

/*
 * Whoever writes this log could call any extension systemd's, a model's too: only a digest of a
 * text that systemd extends is one. Volume keys are extended as an HMAC, which proves nothing.
 */
static int take_systemd(struct verdict *v, const struct entry *e)
{
	static const char *const words[] = {"machine-id:", "file-system:"};
	_cleanup_free_ char *text = NULL;
	uint8_t wanted[DIGEST_SIZE_MAX];
	bool known = false;
	int r = e->record.kind == EVENT_OTHER ? event_record_systemd_text(e->bytes, e->size, &text)
					      : -EPROTO;

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(words); i++)
		known |= strncmp(text, words[i], strlen(words[i])) == 0;
	if (known && digest_buffer(DIGEST_SHA384, text, strlen(text), wanted) < 0)
		return -ENOMEM;
	if (known && memcmp(wanted, e->digest, SHA384_SIZE) == 0)
		v->systemd_count++;
	else
		v->unknown_count++;
	return r == -ENOMEM ? r : 0;
}

static int fail_before(struct judging *j)
{
	return step_fail(
		j->v, STEP_LOG,
		"something unknown was extended into PCR %u before the first record of the "
		"event log",
		j->req->pcr);
}

/* systemd: NULL when the chain starts at zero. */
static int take_events(struct judging *j, const struct entries *systemd, const struct entries *ours,
		       size_t first)
{
	unsigned started = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && systemd && i < systemd->count; i++)
		if (systemd->items[i].has_digest)
			r = take_systemd(j->v, &systemd->items[i]);
	for (size_t i = first; r == 0 && i < ours->count; i++)
		r = take_event(j->v, &ours->items[i], &started);
	j->v->holds_known = true;
	return r < 0 ? r : step_pass(j->v, STEP_LOG);
}

static int replay(struct judging *j, const struct entries *ours, const struct entries *systemd)
{
	uint8_t value[DIGEST_SIZE_MAX] = {0}, explained[SHA384_SIZE];
	size_t first = chain_start(ours), count;
	const uint8_t *before = NULL;
	bool behind = false;

	replay_systemd(systemd, explained, &count);
	if (ours->count == 0)
		before = j->pcr;
	else if (ours->items[first].record.has_before)
		before = bank(&ours->items[first].record.before);
	if (before && !is_zero(before)) {
		if (count == 0 || memcmp(before, explained, SHA384_SIZE) != 0)
			return fail_before(j);
		memcpy(value, before, SHA384_SIZE);
		behind = true;
	}
	for (size_t i = first; i < ours->count; i++)
		if (pcr_extend_value(DIGEST_SHA384, value, ours->items[i].digest) < 0)
			return -ENOMEM;
	if (memcmp(value, j->pcr, SHA384_SIZE) == 0)
		return take_events(j, behind ? systemd : NULL, ours, first);
	return step_fail(j->v, STEP_LOG,
			 "PCR %u does not have the value that the event log leads to: the log is "
			 "not complete, or something else was extended",
			 j->req->pcr);
}

int step_log(struct judging *j)
{
	_cleanup_(entries_clear) struct entries ours = {0}, systemd = {0};
	int r = read_log(j->req->event_log, j->req->pcr, true, &ours);

	if (r == 0)
		r = read_log(j->req->systemd_log, j->req->pcr, false, &systemd);
	if (r < 0)
		return r;
	if (ours.malformed)
		return step_fail(j->v, STEP_LOG, "the event log is malformed at record %zu",
				 ours.malformed);
	if (systemd.malformed)
		return step_fail(j->v, STEP_LOG, "systemd's log is malformed at record %zu",
				 systemd.malformed);
	if (!j->pcr)
		return step_fail(j->v, STEP_LOG, "the document has no PCR %u", j->req->pcr);
	drop_other_boots(&ours);
	return replay(j, &ours, &systemd);
}
