/*
 * The report for Prometheus. Job: one table of metrics, each with a HELP and a TYPE line and all
 * its samples together, as the format wants it. Trusts no name: label values are escaped.
 */
#include "crypto/base/cleanup.h"
#include "fs/report_text.h"

#include <stdbool.h>
#include <string.h>

#define PATH_DEPTH 3

enum scope { SCOPE_MOUNT, SCOPE_MODEL };

/*
 * A sample is the number at `path` in the report, or in each model. With `label`, the value there
 * is an object of numbers, one sample for each member.
 */
struct metric {
	const char *name, *type, *help;
	enum scope scope;
	const char *path[PATH_DEPTH];
	const char *label;
};

static const struct metric metrics[] = {
	{"sealedfs_start_time_seconds",
	 "gauge",
	 "When the daemon started, since 1970.",
	 SCOPE_MOUNT,
	 {"start_seconds"},
	 NULL},
	{"sealedfs_listing_reloads_total",
	 "counter",
	 "Readings of the listing after the first.",
	 SCOPE_MOUNT,
	 {"listing", "reloads"},
	 NULL},
	{"sealedfs_listing_hidden",
	 "gauge",
	 "Objects of the source that are not shown.",
	 SCOPE_MOUNT,
	 {"listing", "hidden"},
	 NULL},
	{"sealedfs_memory_budget_bytes",
	 "gauge",
	 "Memory that buffers may take.",
	 SCOPE_MOUNT,
	 {"memory", "budget_bytes"},
	 NULL},
	{"sealedfs_memory_buffers_in_use_bytes",
	 "gauge",
	 "Memory of buffers that a request or a fetch holds now.",
	 SCOPE_MOUNT,
	 {"memory", "buffers_in_use_bytes"},
	 NULL},
	{"sealedfs_memory_resident_bytes",
	 "gauge",
	 "Resident memory of the daemon.",
	 SCOPE_MOUNT,
	 {"memory", "resident_bytes"},
	 NULL},
	{"sealedfs_s3_requests_total",
	 "counter",
	 "Requests sent to S3, each attempt.",
	 SCOPE_MOUNT,
	 {"aws", "s3", "requests"},
	 NULL},
	{"sealedfs_s3_retries_total",
	 "counter",
	 "Attempts that followed a failed one.",
	 SCOPE_MOUNT,
	 {"aws", "s3", "retries"},
	 NULL},
	{"sealedfs_s3_slow_downs_total",
	 "counter",
	 "Answers of S3 that asked for fewer requests.",
	 SCOPE_MOUNT,
	 {"aws", "s3", "slow_downs"},
	 NULL},
	{"sealedfs_s3_failures_total",
	 "counter",
	 "Calls to S3 that ended with an error.",
	 SCOPE_MOUNT,
	 {"aws", "s3", "failures"},
	 NULL},
	{"sealedfs_kms_requests_total",
	 "counter",
	 "Requests sent to KMS, each attempt.",
	 SCOPE_MOUNT,
	 {"aws", "kms", "requests"},
	 NULL},
	{"sealedfs_kms_failures_total",
	 "counter",
	 "Calls to KMS that ended with an error.",
	 SCOPE_MOUNT,
	 {"aws", "kms", "failures"},
	 NULL},
	{"sealedfs_delivered_bytes_total",
	 "counter",
	 "Plaintext given to the kernel since the mount, of all models.",
	 SCOPE_MOUNT,
	 {"total", "delivered_bytes"},
	 NULL},
	{"sealedfs_fetched_bytes_total",
	 "counter",
	 "Ciphertext that came from the source, of all models.",
	 SCOPE_MOUNT,
	 {"total", "fetched_bytes"},
	 NULL},
	{"sealedfs_reads_in_flight",
	 "gauge",
	 "Requests of readers being answered now.",
	 SCOPE_MOUNT,
	 {"total", "reads_in_flight"},
	 NULL},
	{"sealedfs_model_size_bytes",
	 "gauge",
	 "Size of the plaintext.",
	 SCOPE_MODEL,
	 {"size_bytes"},
	 NULL},
	{"sealedfs_model_resident_bytes",
	 "gauge",
	 "Plaintext in the page cache (from sealctl status --prometheus only).",
	 SCOPE_MODEL,
	 {"resident_bytes"},
	 NULL},
	{"sealedfs_model_unlock_failures_total",
	 "counter",
	 "Opens that could not unlock the model.",
	 SCOPE_MODEL,
	 {"unlock_failures"},
	 NULL},
	{"sealedfs_model_reads_total",
	 "counter",
	 "Requests of readers that were answered.",
	 SCOPE_MODEL,
	 {"reads"},
	 NULL},
	{"sealedfs_model_reads_in_flight",
	 "gauge",
	 "Requests of readers being answered now.",
	 SCOPE_MODEL,
	 {"reads_in_flight"},
	 NULL},
	{"sealedfs_model_delivered_bytes_total",
	 "counter",
	 "Plaintext given to the kernel.",
	 SCOPE_MODEL,
	 {"delivered_bytes"},
	 NULL},
	{"sealedfs_model_fetches_total",
	 "counter",
	 "Requests to the source for ciphertext.",
	 SCOPE_MODEL,
	 {"fetches"},
	 NULL},
	{"sealedfs_model_fetched_bytes_total",
	 "counter",
	 "Ciphertext that came from the source.",
	 SCOPE_MODEL,
	 {"fetched_bytes"},
	 NULL},
	{"sealedfs_model_chunks_decrypted_total",
	 "counter",
	 "Chunks of 512 KiB that were decrypted and passed their checks.",
	 SCOPE_MODEL,
	 {"chunks_decrypted"},
	 NULL},
	{"sealedfs_model_chunk_hits_total",
	 "counter",
	 "Chunks that a request found decrypted, or being decrypted for another one.",
	 SCOPE_MODEL,
	 {"chunk_hits"},
	 NULL},
	{"sealedfs_model_chunk_misses_total",
	 "counter",
	 "Chunks that a request had to load.",
	 SCOPE_MODEL,
	 {"chunk_misses"},
	 NULL},
	{"sealedfs_model_stage_seconds_total",
	 "counter",
	 "Time spent in each stage, summed over threads; idle: without any request.",
	 SCOPE_MODEL,
	 {"seconds"},
	 "stage"},
	{"sealedfs_model_errors_total",
	 "counter",
	 "Reads that failed, by what went wrong.",
	 SCOPE_MODEL,
	 {"errors"},
	 "kind"},
	{"sealedfs_model_throughput_bytes_per_second",
	 "gauge",
	 "Plaintext given to the kernel over the last seconds.",
	 SCOPE_MODEL,
	 {"recent", "throughput_bytes_per_second"},
	 NULL},
};

/* A metric that is 1 for the present one of a set of words, and 0 for the others. */
struct states {
	const char *name, *help, *label;
	const char *path[PATH_DEPTH];
	const char *words[8];
};

static const struct states states[] = {
	{"sealedfs_model_state",
	 "1 for the state that the model is in.",
	 "state",
	 {"state"},
	 {"sealed", "unlocking", "unlocked", "measured", "poisoned", "broken"}},
	{"sealedfs_model_limit",
	 "1 for what limits reading now.",
	 "limit",
	 {"recent", "limit"},
	 {"idle", "reader", "network", "disk", "cipher", "hash", "page cache"}},
};

static const json_t *find(const json_t *in, const char *const path[PATH_DEPTH])
{
	for (size_t i = 0; in && i < PATH_DEPTH && path[i]; i++)
		in = json_object_get(in, path[i]);
	return in;
}

static void print_label(FILE *to, const char *name, const char *value)
{
	fprintf(to, "%s=\"", name);
	for (const char *c = value; *c; c++) {
		if (*c == '\\' || *c == '"')
			fputc('\\', to);
		if (*c == '\n')
			fputs("\\n", to);
		else
			fputc(*c, to);
	}
	fputc('"', to);
}

/* Either label may be NULL. */
static void print_sample(FILE *to, const char *metric, const char *model, const char *label,
			 const char *word, const json_t *value)
{
	fputs(metric, to);
	if (model || label)
		fputc('{', to);
	if (model)
		print_label(to, "model", model);
	if (model && label)
		fputc(',', to);
	if (label)
		print_label(to, label, word);
	if (model || label)
		fputc('}', to);
	if (json_is_integer(value))
		fprintf(to, " %lld\n", (long long)json_integer_value(value));
	else
		fprintf(to, " %.9g\n", json_number_value(value));
}

static void print_head(FILE *to, const char *name, const char *type, const char *help)
{
	fprintf(to, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void print_value(FILE *to, const struct metric *m, const json_t *in, const char *model,
			bool *headed)
{
	const json_t *value = find(in, m->path);
	const char *word;
	json_t *member;

	if (!(m->label ? json_is_object(value) : json_is_number(value)))
		return;
	if (!*headed)
		print_head(to, m->name, m->type, m->help);
	*headed = true;
	if (!m->label) {
		print_sample(to, m->name, model, NULL, NULL, value);
		return;
	}
	json_object_foreach ((json_t *)(uintptr_t)value, word, member)
		print_sample(to, m->name, model, m->label, word, member);
}

static const char *name_of(const json_t *model)
{
	const char *name = json_string_value(json_object_get(model, "name"));

	return name ? name : "";
}

static void print_metric(FILE *to, const struct metric *m, const json_t *report)
{
	const json_t *models = json_object_get(report, "models");
	bool headed = false;

	if (m->scope == SCOPE_MOUNT) {
		print_value(to, m, report, NULL, &headed);
		return;
	}
	for (size_t i = 0; i < json_array_size(models); i++) {
		const json_t *model = json_array_get(models, i);

		print_value(to, m, model, name_of(model), &headed);
	}
}

static void print_states(FILE *to, const struct states *s, const json_t *report)
{
	const json_t *models = json_object_get(report, "models");
	bool headed = false;

	for (size_t i = 0; i < json_array_size(models); i++) {
		const json_t *model = json_array_get(models, i);
		const char *now = json_string_value(find(model, s->path));

		if (now && !headed) {
			print_head(to, s->name, "gauge", s->help);
			headed = true;
		}
		for (size_t k = 0; now && k < ARRAY_LEN(s->words) && s->words[k]; k++) {
			fprintf(to, "%s{", s->name);
			print_label(to, "model", name_of(model));
			fputc(',', to);
			print_label(to, s->label, s->words[k]);
			fprintf(to, "} %d\n", strcmp(now, s->words[k]) == 0);
		}
	}
}

static void print_info(FILE *to, const json_t *report)
{
	static const char *const members[] = {"sealedfs", "source", "crypto"};
	const json_t *models = json_object_get(report, "models");
	const char *comma = "";

	print_head(to, "sealedfs_info", "gauge", "What runs, from where: always 1.");
	fputs("sealedfs_info{", to);
	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		const char *value = json_string_value(json_object_get(report, members[i]));

		if (!value)
			continue;
		fputs(comma, to);
		print_label(to, i == 0 ? "version" : members[i], value);
		comma = ",";
	}
	fputs("} 1\n", to);
	print_head(to, "sealedfs_models", "gauge", "Models that the mount shows.");
	fprintf(to, "sealedfs_models %zu\n", json_array_size(models));
}

void report_print_prometheus(const json_t *report, FILE *to)
{
	print_info(to, report);
	for (size_t i = 0; i < ARRAY_LEN(metrics); i++)
		print_metric(to, &metrics[i], report);
	for (size_t i = 0; i < ARRAY_LEN(states); i++)
		print_states(to, &states[i], report);
}
