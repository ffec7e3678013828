/*
 * The report for Prometheus. Job: print each metric with a HELP and a TYPE line and all its samples
 * together, as the format requires. Trusts no name: label values are escaped.
 */
#include "fs/report/writer_internal.h"

#include "crypto/base/cleanup.h"
#include "crypto/base/printable.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define PATH_DEPTH 3
#define COUNTER_SUFFIX "_total"

/*
 * A sample is the number or truth value at `path` in the report, or in each model. With `label`,
 * the value there is an object of numbers, one sample for each member. What ends in _total is a
 * counter.
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
	{"sealedfs_set_version", "Version of the set that is shown.", {"set", "version"}},
	{"sealedfs_set_members", "Members of the set that is shown.", {"set", "members"}},
	{"sealedfs_set_expiry_time_seconds",
	 "When the set expires, since 1970; not there if it never does.",
	 {"set", "expires_seconds"}},
	{"sealedfs_pcr_shows_what_is_served",
	 "1: the PCR showed every model that is served when it was last read; 0: it did not.",
	 {"pcr", "shows_what_is_served"}},
	{"sealedfs_memory_budget_bytes",
	 "Limit of the memory of buffers.",
	 {"memory", "budget_bytes"}},
	{"sealedfs_memory_buffers_in_use_bytes",
	 "Memory of buffers that are in use by requests and fetches.",
	 {"memory", "buffers_in_use_bytes"}},
	{"sealedfs_memory_resident_bytes",
	 "Resident memory of the daemon.",
	 {"memory", "resident_bytes"}},
	{"sealedfs_residents_bytes",
	 "Memory of models that are resident.",
	 {"residents", "used_bytes"}},
	{"sealedfs_residents_possible",
	 "1: models can be resident (option resident); 0: the kernel, or a privilege, is missing.",
	 {"residents", "possible"}},
	{"sealedfs_s3_requests_total",
	 "Requests sent to S3, each attempt.",
	 {"aws", "s3", "requests"}},
	{"sealedfs_s3_retries_total",
	 "Repeated attempts after failures.",
	 {"aws", "s3", "retries"}},
	{"sealedfs_s3_slow_downs_total",
	 "SlowDown responses from S3.",
	 {"aws", "s3", "slow_downs"}},
	{"sealedfs_s3_failures_total", "Calls to S3 that failed.", {"aws", "s3", "failures"}},
	{"sealedfs_kms_requests_total",
	 "Requests sent to KMS, each attempt.",
	 {"aws", "kms", "requests"}},
	{"sealedfs_kms_failures_total", "Calls to KMS that failed.", {"aws", "kms", "failures"}},
	{"sealedfs_stage_bytes", "Ciphertext on the local disk.", {"stage", "staged_bytes"}},
	{"sealedfs_stage_limit_bytes",
	 "Limit of the stage's disk space.",
	 {"stage", "limit_bytes"}},
	{"sealedfs_stage_hits_total", "Reads of ciphertext from the stage.", {"stage", "hits"}},
	{"sealedfs_stage_hit_bytes_total", "Their bytes.", {"stage", "hit_bytes"}},
	{"sealedfs_stage_misses_total",
	 "Reads of ciphertext from the source that the stage did not have.",
	 {"stage", "misses"}},
	{"sealedfs_stage_miss_bytes_total", "Their bytes.", {"stage", "miss_bytes"}},
	{"sealedfs_stage_written_bytes_total",
	 "Ciphertext written to the stage.",
	 {"stage", "written_bytes"}},
	{"sealedfs_stage_evicted_bytes_total",
	 "Ciphertext removed to make room.",
	 {"stage", "evicted_bytes"}},
	{"sealedfs_stage_skipped_bytes_total",
	 "Ciphertext not staged: the disk was too slow, full or broken.",
	 {"stage", "skipped_bytes"}},
	{"sealedfs_stage_damaged_chunks_total",
	 "Chunks whose staged copy was damaged, so that they were fetched again.",
	 {"stage", "damaged_chunks"}},
	{"sealedfs_delivered_bytes_total",
	 "Plaintext returned to the kernel since the mount, all models.",
	 {"total", "delivered_bytes"}},
	{"sealedfs_fetched_bytes_total",
	 "Ciphertext fetched from the source, all models.",
	 {"total", "fetched_bytes"}},
	{"sealedfs_reads_in_flight", "Read requests in progress.", {"total", "reads_in_flight"}},
};

static const struct metric of_model[] = {
	{"sealedfs_model_size_bytes", "Size of the plaintext.", {"size_bytes"}},
	{"sealedfs_model_resident_bytes",
	 "Plaintext in the page cache (from sealctl status --prometheus only).",
	 {"resident_bytes"}},
	{"sealedfs_model_residency_bytes",
	 "Plaintext in memory of the mount's own (option resident).",
	 {"residency", "bytes"}},
	{"sealedfs_model_attached_files",
	 "Open files that the kernel serves from that memory.",
	 {"residency", "attached_files"}},
	{"sealedfs_model_unlock_failures_total",
	 "Opens that failed to unlock the model.",
	 {"unlock_failures"}},
	{"sealedfs_model_reads_total", "Read requests that were answered.", {"reads"}},
	{"sealedfs_model_reads_in_flight", "Read requests in progress.", {"reads_in_flight"}},
	{"sealedfs_model_waiting_readers",
	 "Readers that keep requesting data that cannot be read, and get their errors late.",
	 {"waiting_readers"}},
	{"sealedfs_model_delivered_bytes_total",
	 "Plaintext returned to the kernel.",
	 {"delivered_bytes"}},
	{"sealedfs_model_filled_bytes_total",
	 "Plaintext loaded into the page cache ahead of readers.",
	 {"filled_bytes"}},
	{"sealedfs_model_fetches_total", "Requests to the source for ciphertext.", {"fetches"}},
	{"sealedfs_model_fetched_bytes_total",
	 "Ciphertext fetched from the source.",
	 {"fetched_bytes"}},
	{"sealedfs_model_chunks_decrypted_total",
	 "Chunks of 512 KiB that were decrypted and passed their checks.",
	 {"chunks_decrypted"}},
	{"sealedfs_model_chunk_hits_total",
	 "Chunks that were decrypted already, or being decrypted, when a request needed them.",
	 {"chunk_hits"}},
	{"sealedfs_model_chunk_misses_total",
	 "Chunks that had to be loaded for a request.",
	 {"chunk_misses"}},
	{"sealedfs_model_stage_seconds_total",
	 "Time spent in each stage, summed over threads; idle: no request in progress.",
	 {"seconds"},
	 "stage"},
	{"sealedfs_model_errors_total", "Failed reads, by cause.", {"errors"}, "kind"},
	{"sealedfs_model_throughput_bytes_per_second",
	 "Plaintext returned to the kernel, average over the last seconds.",
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
	 "1 for the current state of the model.",
	 "state",
	 {"state"},
	 {"sealed", "unlocking", "unlocked", "measured", "poisoned", "broken"}},
	{"sealedfs_model_residency",
	 "1 for the current state of its plaintext in memory (option resident).",
	 "state",
	 {"residency", "state"},
	 {"none", "waiting", "filling", "resident", "leaving"}},
	{"sealedfs_model_limit",
	 "1 for the current bottleneck of reading.",
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

static size_t print_hex(FILE *to, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		fprintf(to, "\\\\x%02x", p[i]);
	return n;
}

/*
 * Quotes, backslashes and line ends as the format has it; all else that misleads, or is not UTF-8,
 * as \xNN behind an escaped backslash. A backslash before an x of the value's own becomes \x5c:
 * two values never look the same, or a whole scrape would be refused.
 */
static void print_label(FILE *to, const char *name, const char *value)
{
	const uint8_t *p = (const uint8_t *)value;
	size_t left = strlen(value), n;
	uint32_t c;

	fprintf(to, "%s=\"", name);
	for (; left > 0; left -= n, p += n) {
		n = utf8_next(p, left, &c);
		if (n > 0 && (c == '\n' || c == '"' || (c == '\\' && p[1] != 'x')))
			fprintf(to, "\\%c", c == '\n' ? 'n' : (int)c);
		else if (n > 0 && c != '\\' && !char_misleads(c))
			fwrite(p, 1, n, to);
		else
			n = print_hex(to, p, n ? n : 1);
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
	if (json_is_boolean(value))
		fprintf(to, " %d\n", json_is_true(value));
	else if (json_is_integer(value))
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

	if (!(m->label ? json_is_object(value) : json_is_number(value) || json_is_boolean(value)))
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

static void print_state(FILE *to, const struct states *s, const json_t *model, bool *headed)
{
	const char *now = json_string_value(find(model, s->path));

	if (!now)
		return;
	if (!*headed)
		print_head(to, s->name, s->help);
	*headed = true;
	for (size_t k = 0; k < ARRAY_LEN(s->words) && s->words[k]; k++) {
		fprintf(to, "%s{", s->name);
		print_label(to, "model", name_of(model));
		fputc(',', to);
		print_label(to, s->label, s->words[k]);
		fprintf(to, "} %d\n", strcmp(now, s->words[k]) == 0);
	}
}

/* One for each metric of models: the format wants all samples of a metric together. */
struct samples {
	FILE *to;
	char *text;
	size_t size;
	bool headed;
};

struct prometheus {
	struct samples all[ARRAY_LEN(of_model) + ARRAY_LEN(states)];
};

void prometheus_free(struct prometheus *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < ARRAY_LEN(p->all); i++) {
		if (p->all[i].to)
			(void)fclose(p->all[i].to);
		free(p->all[i].text);
	}
	free(p);
}

struct prometheus *prometheus_new(void)
{
	struct prometheus *p = calloc(1, sizeof(*p));

	for (size_t i = 0; p && i < ARRAY_LEN(p->all); i++) {
		p->all[i].to = open_memstream(&p->all[i].text, &p->all[i].size);
		if (!p->all[i].to) {
			prometheus_free(p);
			return NULL;
		}
	}
	return p;
}

void prometheus_add(struct prometheus *p, const json_t *model)
{
	struct samples *s = p->all;

	for (size_t i = 0; i < ARRAY_LEN(of_model); i++, s++)
		print_value(s->to, &of_model[i], model, name_of(model), &s->headed);
	for (size_t i = 0; i < ARRAY_LEN(states); i++, s++)
		print_state(s->to, &states[i], model, &s->headed);
}

size_t prometheus_size(const struct prometheus *p)
{
	size_t size = 0;

	for (size_t i = 0; i < ARRAY_LEN(p->all); i++)
		size += (size_t)ftello(p->all[i].to);
	return size;
}

static void print_info(FILE *to, const json_t *report, size_t models, size_t omitted)
{
	static const char *const members[] = {"sealedfs", "source", "crypto"};
	const char *comma = "";

	print_head(to, "sealedfs_info", "Version, source and cryptographic library; always 1.");
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
	fprintf(to, "sealedfs_models %zu\n", models + omitted);
	print_head(to, "sealedfs_models_omitted",
		   "Models without samples: they would need too much memory.");
	fprintf(to, "sealedfs_models_omitted %zu\n", omitted);
}

int prometheus_end(struct prometheus *p, const json_t *head, size_t models, size_t omitted,
		   FILE *to)
{
	int r = 0;

	print_info(to, head, models, omitted);
	for (size_t i = 0; i < ARRAY_LEN(of_mount); i++) {
		bool headed = false;

		print_value(to, &of_mount[i], head, NULL, &headed);
	}
	for (size_t i = 0; i < ARRAY_LEN(p->all); i++) {
		struct samples *s = &p->all[i];

		if (fclose(steal_ptr(s->to)) != 0)
			r = -ENOMEM;
		else
			(void)fwrite(s->text, 1, s->size, to);
		free(steal_ptr(s->text));
	}
	return r;
}
