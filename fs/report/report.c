/*
 * The report. Job: gather what the parts of a mount count into one JSON object. Trusts the parts
 * for their numbers; names are UTF-8 by crypto/name.h. Must never wait for a network, a TPM or a
 * reader, nor show a key, a token or plaintext.
 */
#include "fs/report.h"

#include "crypto/backend.h"
#include "fs/net/aws.h"
#include "fs/source/staged.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const conditions[MODEL_CONDITION_COUNT] = {
	[MODEL_IS_SEALED] = "sealed",	  [MODEL_IS_UNLOCKING] = "unlocking",
	[MODEL_IS_UNLOCKED] = "unlocked", [MODEL_IS_MEASURED] = "measured",
	[MODEL_IS_POISONED] = "poisoned", [MODEL_IS_BROKEN] = "broken",
};

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

/* Messages may quote bytes that are not UTF-8, and are cut at any byte. */
static json_t *message(const char *text)
{
	json_t *value = json_string(text);
	_cleanup_free_ char *plain = NULL;

	if (value)
		return value;
	plain = strdup(text);
	for (char *c = plain; c && *c; c++)
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	return plain ? json_string(plain) : NULL;
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

static json_t *reason(const struct error *why)
{
	return json_pack("{s:o, s:o, s:i}", "message", message(why->message), "hint",
			 why->hint[0] ? message(why->hint) : json_null(), "exit_code",
			 (int)error_exit_code(why->code));
}

static json_t *measured(const struct measurement *m)
{
	return json_pack("{s:s, s:i, s:s, s:b}", "mode", measure_mode_name(m->mode), "pcr",
			 (int)m->pcr, "event", m->event, "earlier_since_boot", m->earlier);
}

static json_t *report_model(const struct report_sources *s, const struct generation *g,
			    const struct view_node *file)
{
	struct model_look look;
	char inode[24];
	json_t *to = json_object();

	model_look(generation_model(g, file), &look);
	json_object_set_new(to, "name", message(file->path));
	(void)snprintf(inode, sizeof(inode), "%" PRIu64, file->ino);
	json_object_set_new(to, "inode", json_string(inode)); /* JSON's numbers are too short */
	json_object_set_new(to, "size_bytes", number(file->size));
	json_object_set_new(to, "state", json_string(conditions[look.condition]));
	if (look.why.code)
		json_object_set_new(to, "reason", reason(&look.why));
	if (look.unlock_failures)
		json_object_set_new(to, "unlock_failures", number(look.unlock_failures));
	if (look.unlocked_s)
		json_object_set_new(to, "unlocked", time_text(look.unlocked_s));
	if (look.measurement.done)
		json_object_set_new(to, "measured", measured(&look.measurement));
	if (look.has_stats)
		add_stats(s, to, &look.stats);
	return to;
}

static json_t *report_models(const struct report_sources *s, const struct generation *g)
{
	const struct view *v = generation_view(g);
	json_t *list = json_array();

	for (size_t i = 0; i < v->file_count; i++)
		if (json_array_append_new(list, report_model(s, g, v->files[i])) < 0) {
			json_decref(list);
			return NULL;
		}
	return list;
}

static json_t *report_options(const struct config *c)
{
	json_t *to = json_object();

	json_object_set_new(to, "measure", json_string(measure_mode_name(c->measure)));
	json_object_set_new(to, "pcr", number(c->pcr));
	json_object_set_new(to, "unlock", json_string(c->unlock_at_mount ? "mount" : "open"));
	json_object_set_new(to, "attest",
			    json_string(c->attest == CONFIG_ATTEST_NONE ? "none" : "nitrotpm"));
	json_object_set_new(to, "measure_when",
			    json_string(c->measure_at_mount ? "mount" : "open"));
	json_object_set_new(to, "fill",
			    json_string(c->fill == READ_FILL_OFF   ? "off"
					: c->fill == READ_FILL_ALL ? "all"
								   : "auto"));
	json_object_set_new(to, "stage", c->stage ? message(c->stage) : json_null());
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
	return json_pack("{s:o, s:o, s:o}", "budget_bytes",
			 number(e->chunk_bytes + e->extent_bytes), "buffers_in_use_bytes",
			 number(e->chunk_bytes_in_use + e->extent_bytes_in_use), "resident_bytes",
			 number(resident_bytes()));
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

json_t *report_make(const struct report_sources *s)
{
	struct generation *g = catalog_acquire(s->catalog);
	const struct stage_counters *stage = source_stage_counters(s->source);
	struct read_engine_state engine;
	char crypto[CRYPTO_BACKEND_TEXT_SIZE];
	json_t *to = json_object(), *total = json_object();

	read_engine_look(s->engine, &engine);
	crypto_backend_text(crypto);
	json_object_set_new(to, "sealedfs", json_string(SEALEDFS_VERSION));
	json_object_set_new(to, "pid", number((uint64_t)getpid()));
	json_object_set_new(to, "source", message(s->config->source));
	json_object_set_new(to, "started", time_text(s->started_s));
	json_object_set_new(to, "start_seconds", number((uint64_t)s->started_s));
	json_object_set_new(to, "uptime_seconds",
			    number((uint64_t)MAX((int64_t)time(NULL) - s->started_s, (int64_t)0)));
	json_object_set_new(to, "options", report_options(s->config));
	json_object_set_new(to, "crypto", json_string(crypto));
	json_object_set_new(to, "memory", report_memory(&engine));
	json_object_set_new(to, "listing",
			    json_pack("{s:i, s:b, s:o}", "reloads", (int)s->reloads,
				      "last_reload_failed", s->reload_failed, "hidden",
				      number(generation_view(g)->note_count)));
	if (s->aws)
		json_object_set_new(to, "aws", report_aws(s->aws));
	if (stage)
		json_object_set_new(to, "stage", report_stage(stage));
	add_stats(s, total, &engine.stats);
	json_object_set_new(to, "total", total);
	if (json_object_set_new(to, "models", report_models(s, g)) < 0) {
		json_decref(to);
		to = NULL;
	}
	catalog_release(s->catalog, g);
	return to;
}
