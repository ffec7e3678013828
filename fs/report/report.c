/*
 * The report. Job: gather what the parts of a mount count, and one model after the other. Trusts
 * the parts for their numbers; names are UTF-8 by crypto/name.h. Must never wait for a network, a
 * TPM or a reader, nor show a key, a token or plaintext.
 */
#include "fs/report/report.h"

#include "crypto/backend.h"
#include "crypto/base/encode.h"
#include "crypto/base/json.h"
#include "crypto/sealed_head.h"
#include "fs/aws/aws.h"
#include "fs/report/residency.h"
#include "fs/stage/staged.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What a model that is read takes at most in one of the formats, about. */
#define MODEL_SIZE ((size_t)8192)

static const char *const conditions[MODEL_CONDITION_COUNT] = {
	[MODEL_IS_SEALED] = "sealed",	  [MODEL_IS_UNLOCKING] = "unlocking",
	[MODEL_IS_UNLOCKED] = "unlocked", [MODEL_IS_MEASURED] = "measured",
	[MODEL_IS_POISONED] = "poisoned", [MODEL_IS_BROKEN] = "broken",
};

const char *report_condition(enum model_condition condition)
{
	return conditions[condition];
}

static json_t *number(uint64_t n)
{
	return json_integer((json_int_t)MIN(n, (uint64_t)INT64_MAX));
}

static json_t *seconds(uint64_t ns)
{
	return json_real((double)ns / 1e9);
}

static json_t *time_text(int64_t s)
{
	time_t t = (time_t)s;
	char text[32];
	struct tm tm;

	if (!gmtime_r(&t, &tm) || strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		return json_null();
	return json_string(text);
}

/* What waits for the source waits for a network, or for a disk. */
static const char *limit_name(const struct report_sources *s, const struct stats_snapshot *stats)
{
	switch (stats_limit(stats)) {
	case STATS_READER:
		return "reader";
	case STATS_SOURCE:
		return source_spec_is_s3(s->config->source) ? "network" : "disk";
	case STATS_CIPHER:
		return "cipher";
	case STATS_HASH:
		return "hash";
	case STATS_PAGE_CACHE:
		return "page cache";
	default:
		return "idle";
	}
}

static json_t *stage_seconds(const uint64_t v[STAT_COUNT])
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "fetch", seconds(v[STAT_FETCH_NS]),
			 "decrypt", seconds(v[STAT_DECRYPT_NS]), "hash", seconds(v[STAT_HASH_NS]),
			 "reply", seconds(v[STAT_REPLY_NS]), "wait", seconds(v[STAT_WAIT_NS]),
			 "idle", seconds(v[STAT_IDLE_NS]));
}

/* Adds the members to an object. */
static void add_stats(const struct report_sources *s, json_t *to, const struct stats_snapshot *n)
{
	static const struct {
		const char *name;
		enum read_stat which;
	} plain[] = {
		{"reads", STAT_READS},
		{"delivered_bytes", STAT_DELIVERED_BYTES},
		{"filled_bytes", STAT_FILLED_BYTES},
		{"fetches", STAT_FETCHES},
		{"fetched_bytes", STAT_FETCHED_BYTES},
		{"chunks_decrypted", STAT_CHUNKS_DECRYPTED},
		{"chunk_hits", STAT_CHUNK_HITS},
		{"chunk_misses", STAT_CHUNK_MISSES},
	};
	const uint64_t *v = n->total;
	uint64_t asked = v[STAT_CHUNK_HITS] + v[STAT_CHUNK_MISSES];

	for (size_t i = 0; i < ARRAY_LEN(plain); i++)
		json_object_set_new(to, plain[i].name, number(v[plain[i].which]));
	json_object_set_new(to, "hit_rate",
			    asked ? json_real((double)v[STAT_CHUNK_HITS] / (double)asked)
				  : json_null());
	json_object_set_new(to, "reads_in_flight", number(n->in_flight));
	json_object_set_new(to, "seconds", stage_seconds(v));
	json_object_set_new(to, "errors",
			    json_pack("{s:o, s:o, s:o, s:o}", "tampered",
				      number(v[STAT_ERRORS_TAMPERED]), "changed",
				      number(v[STAT_ERRORS_CHANGED]), "unreachable",
				      number(v[STAT_ERRORS_UNREACHABLE]), "other",
				      number(v[STAT_ERRORS_OTHER])));
	json_object_set_new(to, "recent",
			    json_pack("{s:o, s:f, s:s, s:o}", "window_seconds",
				      seconds(n->window_ns), "throughput_bytes_per_second",
				      stats_throughput(n), "limit", limit_name(s, n), "seconds",
				      stage_seconds(n->recent)));
}

json_t *report_reason(const struct error *why)
{
	return json_pack("{s:o, s:o, s:i}", "message", json_outside_text(why->message), "hint",
			 why->hint[0] ? json_outside_text(why->hint) : json_null(), "exit_code",
			 (int)error_exit_code(why->code));
}

static json_t *measured(const struct measurement *m)
{
	return json_pack("{s:s, s:i, s:s, s:b}", "mode", measure_mode_name(m->mode), "pcr",
			 (int)m->pcr, "event", m->event, "earlier_since_boot", m->earlier);
}

/* Of all served models together: a model's own state is that of its opening. */
static json_t *report_pcr(const struct report_sources *s)
{
	json_t *to = json_pack("{s:i}", "number", (int)s->config->pcr);
	struct error why;

	measured_look(catalog_options(s->catalog)->measured, &why);
	json_object_set_new(to, "shows_what_is_served", json_boolean(why.code == 0));
	if (why.code)
		json_object_set_new(to, "reason", report_reason(&why));
	return to;
}

/* The readers that get errors late, if there are any. */
static void add_waiting(json_t *to, struct late *late, uint64_t ino)
{
	struct deferral_look look;
	json_t *list;

	late_look(late, ino, &look);
	json_object_set_new(to, "waiting_readers", number(look.count));
	if (look.count == 0)
		return;
	list = json_array();
	for (unsigned i = 0; i < look.shown; i++)
		json_array_append_new(list, json_pack("{s:i, s:o}", "process",
						      (int)look.readers[i].process, "offset",
						      number(look.readers[i].offset)));
	json_object_set_new(to, "waiting", list);
}

/* Of slots_text(). */
static void add_recipients(json_t *to, const char *text)
{
	json_t *list = json_array();

	while (text && *text) {
		size_t n = strcspn(text, "\n");

		json_array_append_new(list, json_stringn(text, n));
		text += n + (text[n] == '\n');
	}
	json_object_set_new(to, "recipients", list);
}

static json_t *report_model(const struct report_sources *s, const struct view_node *file,
			    const struct model_look *look)
{
	char inode[24];
	json_t *to = json_object();

	json_object_set_new(to, "name", json_outside_text(file->path));
	(void)snprintf(inode, sizeof(inode), "%" PRIu64, file->ino);
	json_object_set_new(to, "inode", json_string(inode)); /* JSON's numbers are too short */
	json_object_set_new(to, "size_bytes", number(file->size));
	json_object_set_new(to, "state", json_string(report_condition(look->condition)));
	if (file->recipients)
		add_recipients(to, file->recipients);
	if (look->why.code)
		json_object_set_new(to, "reason", report_reason(&look->why));
	if (look->unlock_failures)
		json_object_set_new(to, "unlock_failures", number(look->unlock_failures));
	if (look->unlocked_s)
		json_object_set_new(to, "unlocked", time_text(look->unlocked_s));
	if (look->measurement.done)
		json_object_set_new(to, "measured", measured(&look->measurement));
	if (look->may_be_resident)
		json_object_set_new(to, "residency", residency_of_model(&look->residency));
	if (look->has_stats) {
		add_stats(s, to, &look->stats);
		add_waiting(to, s->late, file->ino);
	}
	return to;
}

static json_t *report_options(const struct report_sources *s)
{
	const struct config *c = s->config;
	json_t *to = json_object();

	json_object_set_new(to, "measure",
			    json_string(measure_mode_name(catalog_options(s->catalog)->measure)));
	json_object_set_new(to, "set", json_string(config_word(c, "set")));
	json_object_set_new(to, "pcr", number(c->pcr));
	json_object_set_new(to, "unlock",
			    json_string(c->ready >= CONFIG_READY_UNLOCKED ? "mount" : "open"));
	json_object_set_new(to, "attest", json_string(config_word(c, "attest")));
	json_object_set_new(to, "measure_when",
			    json_string(c->ready == CONFIG_READY_MEASURED ? "mount" : "open"));
	json_object_set_new(to, "ready", json_string(config_word(c, "ready")));
	json_object_set_new(to, "fill", json_string(config_word(c, "fill")));
	json_object_set_new(to, "resident", json_string(c->resident ? "on" : "off"));
	json_object_set_new(to, "stage", c->stage ? json_outside_text(c->stage) : json_null());
	json_object_set_new(to, "owner_keys", number(c->owner_keys.count));
	json_object_set_new(to, "allow_foreign_extend", json_boolean(c->allow_foreign_extend));
	json_object_set_new(to, "allow_other", json_boolean(c->allow_other));
	return to;
}

static uint64_t resident_bytes(void)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/statm", "re");
	char line[128];
	const char *second = f && fgets(line, sizeof(line), f) ? strchr(line, ' ') : NULL;

	/* The second number: resident pages. */
	return second ? strtoull(second, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static json_t *report_memory(const struct read_engine_state *e)
{
	return json_pack("{s:o, s:o, s:o, s:o}", "budget_bytes",
			 number(e->chunk_bytes + e->extent_bytes), "buffers_in_use_bytes",
			 number(e->chunk_bytes_in_use + e->extent_bytes_in_use), "kept_bytes",
			 number(e->kept_bytes), "resident_bytes", number(resident_bytes()));
}

static json_t *report_aws(const struct aws *aws)
{
	json_t *to = json_object();

	for (enum aws_service i = 0; i < AWS_SERVICE_COUNT; i++) {
		struct aws_counts n;

		aws_count(aws, i, &n);
		json_object_set_new(to, aws_service_name(i),
				    json_pack("{s:o, s:o, s:o, s:o}", "requests",
					      number(n.requests), "retries", number(n.retries),
					      "slow_downs", number(n.slow_downs), "failures",
					      number(n.failures)));
	}
	return to;
}

static void add_count(json_t *to, const char *name, const atomic_ullong *n)
{
	json_object_set_new(to, name, number(atomic_load_explicit(n, memory_order_relaxed)));
}

static json_t *report_stage(const struct stage_counters *n)
{
	json_t *to = json_object();

	add_count(to, "staged_bytes", &n->staged_bytes);
	add_count(to, "limit_bytes", &n->limit_bytes);
	add_count(to, "hits", &n->hits);
	add_count(to, "hit_bytes", &n->hit_bytes);
	add_count(to, "misses", &n->misses);
	add_count(to, "miss_bytes", &n->miss_bytes);
	add_count(to, "written_bytes", &n->written_bytes);
	add_count(to, "evicted_bytes", &n->evicted_bytes);
	add_count(to, "skipped_bytes", &n->skipped_bytes);
	add_count(to, "damaged_chunks", &n->damaged);
	return to;
}

static json_t *report_listing(const struct report_sources *s, const struct view *v)
{
	json_t *notes = json_array(), *to;
	bool failed = s->reload_error.code != 0;

	for (size_t i = 0; i < v->note_count; i++)
		json_array_append_new(notes, json_outside_text(v->notes[i]));
	to = json_pack("{s:I, s:b, s:o, s:o, s:o}", "reloads", (json_int_t)s->reloads,
		       "last_reload_failed", failed, "hidden", number(v->hidden_count), "notes",
		       notes, "more_notes", number(v->more_notes));
	if (failed)
		json_object_set_new(to, "reason", report_reason(&s->reload_error));
	return to;
}

static json_t *report_bundle(const struct oms_summary *s)
{
	return json_pack("{s:s, s:o, s:o, s:o, s:o}", "key", s->key, "name",
			 json_outside_text(s->name), "files", number(s->files), "ignored",
			 number(s->ignored), "not_checked",
			 s->unchecked[0] ? json_outside_text(s->unchecked) : json_null());
}

static json_t *report_set(const struct report_sources *s, struct mounted_set *mounted)
{
	_cleanup_free_ char *recipients = mounted_set_recipients(mounted);
	const struct models_options *o = catalog_options(s->catalog);
	const struct set *set = mounted_set_get(mounted);
	const struct set_header *h = set_header(set);
	const struct sealed_head *head = set_head(set);
	struct measured_model claim = mounted_set_claim(mounted);
	char id[2 * SET_ID_SIZE + 1], content[2 * SHA256_SIZE + 1], signer[2 * SIGNER_ID_SIZE + 1];
	struct measurement m = {.mode = MEASURE_SET, .pcr = s->config->pcr};
	bool checked = owner_keys_count(o->owners) > 0;
	json_t *to;

	hex_encode(h->id, SET_ID_SIZE, id);
	hex_encode(h->content, SHA256_SIZE, content);
	hex_encode(head->signer_id, SIGNER_ID_SIZE, signer);
	to = json_pack("{s:o, s:s, s:o, s:o, s:o, s:o, s:s, s:o}", "name",
		       json_outside_text(h->name), "id", id, "version", number(h->version),
		       "members", number(h->member_count), "created",
		       time_text((int64_t)h->created), "expires",
		       h->expires ? time_text((int64_t)h->expires) : json_null(), "content",
		       content, "signer", checked ? json_string(signer) : json_null());
	add_recipients(to, recipients);
	if (h->expires)
		json_object_set_new(to, "expires_seconds", number(h->expires));
	if (mounted_set_oms(mounted))
		json_object_set_new(to, "oms", report_bundle(mounted_set_oms(mounted)));
	m.done = mounted_set_is_measured(mounted, &m.earlier);
	if (m.done && measure_text(MEASURE_SET, &claim.event.digests, m.event) == 0)
		json_object_set_new(to, "measured", measured(&m));
	return to;
}

static json_t *report_head(const struct report_sources *s, const struct generation *g)
{
	const struct stage_counters *stage = source_stage_counters(s->source);
	struct read_engine_state engine;
	char crypto[CRYPTO_BACKEND_TEXT_SIZE];
	json_t *to = json_object(), *total = json_object();

	read_engine_look(s->engine, &engine);
	crypto_backend_text(crypto);
	json_object_set_new(to, "sealedfs", json_string(SEALEDFS_VERSION));
	json_object_set_new(to, "pid", number((uint64_t)getpid()));
	json_object_set_new(to, "source", json_outside_text(s->config->source));
	json_object_set_new(to, "started", time_text(s->started_s));
	json_object_set_new(to, "start_seconds", number((uint64_t)s->started_s));
	json_object_set_new(to, "uptime_seconds",
			    number((uint64_t)MAX((int64_t)time(NULL) - s->started_s, (int64_t)0)));
	json_object_set_new(to, "options", report_options(s));
	json_object_set_new(to, "crypto", json_string(crypto));
	json_object_set_new(to, "memory", report_memory(&engine));
	if (s->residents)
		json_object_set_new(to, "residents", residency_of_mount(s->residents));
	if (s->config->measure != MEASURE_NONE)
		json_object_set_new(to, "pcr", report_pcr(s));
	if (generation_set(g))
		json_object_set_new(to, "set", report_set(s, generation_set(g)));
	json_object_set_new(to, "listing", report_listing(s, generation_view(g)));
	if (s->aws)
		json_object_set_new(to, "aws", report_aws(s->aws));
	if (stage)
		json_object_set_new(to, "stage", report_stage(stage));
	add_stats(s, total, &engine.stats);
	json_object_set_new(to, "total", total);
	return to;
}

/* If there is no room for all models: those that were opened, those that failed, the others. */
static unsigned rank_of(const struct model_look *look)
{
	return look->has_stats ? 0 : look->why.code ? 1 : 2;
}

/* Adds models until the limit is reached; returns how many were left out. */
static size_t add_models(const struct report_sources *s, const struct generation *g, size_t limit,
			 struct report_writer *w)
{
	const struct view *v = generation_view(g);
	bool sorted = v->file_count > limit / MODEL_SIZE;
	size_t added = 0;

	for (unsigned rank = 0; rank < (sorted ? 3 : 1); rank++)
		for (size_t i = 0; i < v->file_count && report_size(w) < limit; i++) {
			struct model_look look;
			json_t *model;

			model_look(generation_model(g, v->files[i]), &look);
			if (sorted && rank_of(&look) != rank)
				continue;
			model = report_model(s, v->files[i], &look);
			report_add(w, model);
			json_decref(model);
			added++;
		}
	return v->file_count - added;
}

int report_write(const struct report_sources *s, enum report_format format, size_t limit, FILE *to)
{
	struct generation *g = catalog_acquire(s->catalog);
	json_t *head = report_head(s, g);
	struct report_writer *w;
	int r = report_begin(format, head, to, &w);

	if (r == 0)
		r = report_end(w, add_models(s, g, limit, w));
	json_decref(head);
	catalog_release(s->catalog, g);
	return r < 0 || ferror(to) ? -ENOMEM : 0;
}
