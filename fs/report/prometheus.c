/*
 * The report for Prometheus. Job: one table of metrics, each with a HELP and a TYPE line and all
 * its samples together, as the format wants it. Trusts no name: label values are escaped.
 */
#include "crypto/base/cleanup.h"
#include "fs/report_text.h"

#include <stdbool.h>
#include <string.h>

#define PATH_DEPTH 3
#define COUNTER_SUFFIX "_total"

/*
 * A sample is the number at `path` in the report, or in each model. With `label`, the value there
 * is an object of numbers, one sample for each member. What ends in _total is a counter.
 */
struct metric {
	const char *name, *help;
	const char *path[PATH_DEPTH];
	const char *label;
};

static const struct metric of_mount[] = {
	{"sealedfs_start_time_seconds", "When the daemon started, since 1970.", {"start_seconds"}},
	{"sealedfs_listing_reloads_total",
	 "Readings of the listing after the first.",
	 {"listing", "reloads"}},
	{"sealedfs_listing_hidden",
	 "Objects of the source that are not shown.",
	 {"listing", "hidden"}},
	{"sealedfs_memory_budget_bytes",
	 "Memory that buffers may take.",
	 {"memory", "budget_bytes"}},
	{"sealedfs_memory_buffers_in_use_bytes",
	 "Memory of buffers that a request or a fetch holds now.",
	 {"memory", "buffers_in_use_bytes"}},
	{"sealedfs_memory_resident_bytes",
	 "Resident memory of the daemon.",
	 {"memory", "resident_bytes"}},
	{"sealedfs_s3_requests_total",
	 "Requests sent to S3, each attempt.",
	 {"aws", "s3", "requests"}},
	{"sealedfs_s3_retries_total",
	 "Attempts that followed a failed one.",
	 {"aws", "s3", "retries"}},
	{"sealedfs_s3_slow_downs_total",
	 "Answers of S3 that asked for fewer requests.",
	 {"aws", "s3", "slow_downs"}},
	{"sealedfs_s3_failures_total",
	 "Calls to S3 that ended with an error.",
	 {"aws", "s3", "failures"}},
	{"sealedfs_kms_requests_total",
	 "Requests sent to KMS, each attempt.",
	 {"aws", "kms", "requests"}},
	{"sealedfs_kms_failures_total",
	 "Calls to KMS that ended with an error.",
	 {"aws", "kms", "failures"}},
	{"sealedfs_stage_bytes", "Ciphertext on the local disk.", {"stage", "staged_bytes"}},
	{"sealedfs_stage_limit_bytes",
	 "What the stage may take of the disk.",
	 {"stage", "limit_bytes"}},
	{"sealedfs_stage_hits_total",
	 "Reads of ciphertext that the stage answered.",
	 {"stage", "hits"}},
	{"sealedfs_stage_hit_bytes_total", "Their bytes.", {"stage", "hit_bytes"}},
	{"sealedfs_stage_misses_total",
	 "Reads of ciphertext that went to the origin.",
	 {"stage", "misses"}},
	{"sealedfs_stage_miss_bytes_total", "Their bytes.", {"stage", "miss_bytes"}},
	{"sealedfs_stage_written_bytes_total",
	 "Ciphertext put on the local disk.",
	 {"stage", "written_bytes"}},
	{"sealedfs_stage_evicted_bytes_total",
	 "Ciphertext removed to make room.",
	 {"stage", "evicted_bytes"}},
	{"sealedfs_stage_skipped_bytes_total",
	 "Ciphertext not staged: the disk was too slow, full or broken.",
	 {"stage", "skipped_bytes"}},
	{"sealedfs_stage_damaged_chunks_total",
	 "Chunks whose copy was bad and that were fetched again.",
	 {"stage", "damaged_chunks"}},
	{"sealedfs_delivered_bytes_total",
	 "Plaintext given to the kernel since the mount, of all models.",
	 {"total", "delivered_bytes"}},
	{"sealedfs_fetched_bytes_total",
	 "Ciphertext that came from the source, of all models.",
	 {"total", "fetched_bytes"}},
	{"sealedfs_reads_in_flight",
	 "Requests of readers being answered now.",
	 {"total", "reads_in_flight"}},
};

static const struct metric of_model[] = {
	{"sealedfs_model_size_bytes", "Size of the plaintext.", {"size_bytes"}},
	{"sealedfs_model_resident_bytes",
	 "Plaintext in the page cache (from sealctl status --prometheus only).",
	 {"resident_bytes"}},
	{"sealedfs_model_unlock_failures_total",
	 "Opens that could not unlock the model.",
	 {"unlock_failures"}},
	{"sealedfs_model_reads_total", "Requests of readers that were answered.", {"reads"}},
	{"sealedfs_model_reads_in_flight",
	 "Requests of readers being answered now.",
	 {"reads_in_flight"}},
	{"sealedfs_model_delivered_bytes_total",
	 "Plaintext given to the kernel.",
	 {"delivered_bytes"}},
	{"sealedfs_model_filled_bytes_total",
	 "Plaintext put into the page cache ahead of readers.",
	 {"filled_bytes"}},
	{"sealedfs_model_fetches_total", "Requests to the source for ciphertext.", {"fetches"}},
	{"sealedfs_model_fetched_bytes_total",
	 "Ciphertext that came from the source.",
	 {"fetched_bytes"}},
	{"sealedfs_model_chunks_decrypted_total",
	 "Chunks of 512 KiB that were decrypted and passed their checks.",
	 {"chunks_decrypted"}},
	{"sealedfs_model_chunk_hits_total",
	 "Chunks that a request found decrypted, or being decrypted for another one.",
	 {"chunk_hits"}},
	{"sealedfs_model_chunk_misses_total",
	 "Chunks that a request had to load.",
	 {"chunk_misses"}},
	{"sealedfs_model_stage_seconds_total",
	 "Time spent in each stage, summed over threads; idle: without any request.",
	 {"seconds"},
	 "stage"},
	{"sealedfs_model_errors_total",
	 "Reads that failed, by what went wrong.",
	 {"errors"},
	 "kind"},
	{"sealedfs_model_throughput_bytes_per_second",
	 "Plaintext given to the kernel over the last seconds.",
	 {"recent", "throughput_bytes_per_second"}},
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

static void print_head(FILE *to, const char *name, const char *help)
{
	size_t n = strlen(name), suffix = strlen(COUNTER_SUFFIX);
	bool counts = n > suffix && strcmp(name + n - suffix, COUNTER_SUFFIX) == 0;

	fprintf(to, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, counts ? "counter" : "gauge");
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
		print_head(to, m->name, m->help);
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

static void print_of_models(FILE *to, const struct metric *m, const json_t *models)
{
	bool headed = false;

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
			print_head(to, s->name, s->help);
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

	print_head(to, "sealedfs_info", "What runs, from where: always 1.");
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
	print_head(to, "sealedfs_models", "Models that the mount shows.");
	fprintf(to, "sealedfs_models %zu\n", json_array_size(models));
}

void report_print_prometheus(const json_t *report, FILE *to)
{
	print_info(to, report);
	for (size_t i = 0; i < ARRAY_LEN(of_mount); i++) {
		bool headed = false;

		print_value(to, &of_mount[i], report, NULL, &headed);
	}
	for (size_t i = 0; i < ARRAY_LEN(of_model); i++)
		print_of_models(to, &of_model[i], json_object_get(report, "models"));
	for (size_t i = 0; i < ARRAY_LEN(states); i++)
		print_states(to, &states[i], report);
}
