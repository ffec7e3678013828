/*
 * The report for people. Job: the mount in a few lines, then each model in one or two; what is
 * wrong is said in words, with what to do. Trusts no name and no message.
 */
#include "fs/report_text.h"

#include "crypto/base/cleanup.h"
#include "crypto/name.h"

#include <string.h>

#define AMOUNT_SIZE 24

/* "0 B", "812 kB", "4.1 GB": powers of 1000. */
static const char *amount(double bytes, char out[AMOUNT_SIZE])
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
	size_t i = 0;

	for (; bytes >= 999.5 && i + 1 < ARRAY_LEN(units); i++)
		bytes /= 1000;
	(void)snprintf(out, AMOUNT_SIZE, "%.*f %s", i > 0 && bytes < 99.95 ? 1 : 0, bytes,
		       units[i]);
	return out;
}

static const char *word(const json_t *in, const char *name)
{
	const char *text = json_string_value(json_object_get(in, name));

	return text ? text : "-";
}

static double num(const json_t *in, const char *name)
{
	return json_number_value(json_object_get(in, name));
}

static void print_uptime(double s, FILE *to)
{
	unsigned long long all = (unsigned long long)s;

	if (all >= 86400)
		fprintf(to, "%llu d %llu h", all / 86400, all / 3600 % 24);
	else if (all >= 3600)
		fprintf(to, "%llu h %llu min", all / 3600, all / 60 % 60);
	else if (all >= 60)
		fprintf(to, "%llu min %llu s", all / 60, all % 60);
	else
		fprintf(to, "%llu s", all);
}

static void print_aws(const json_t *aws, FILE *to)
{
	const char *service;
	json_t *n;

	json_object_foreach ((json_t *)(uintptr_t)aws, service, n)
		if (num(n, "requests") > 0)
			fprintf(to,
				"  %-10s %.0f requests, %.0f retries, %.0f SlowDown, %.0f failed\n",
				service, num(n, "requests"), num(n, "retries"),
				num(n, "slow_downs"), num(n, "failures"));
}

static void print_stage(const json_t *stage, FILE *to)
{
	char a[AMOUNT_SIZE], b[AMOUNT_SIZE], c[AMOUNT_SIZE], d[AMOUNT_SIZE];

	if (stage)
		fprintf(to, "  %-10s %s of %s; %s came from it, %s from the origin\n", "stage",
			amount(num(stage, "staged_bytes"), a), amount(num(stage, "limit_bytes"), b),
			amount(num(stage, "hit_bytes"), c), amount(num(stage, "miss_bytes"), d));
}

static void print_head(const json_t *report, FILE *to)
{
	const json_t *memory = json_object_get(report, "memory");
	const json_t *options = json_object_get(report, "options");
	char source[NAME_PRINTABLE_SIZE], a[AMOUNT_SIZE], b[AMOUNT_SIZE], c[AMOUNT_SIZE];

	name_printable(word(report, "source"), source);
	fputs(source, to);
	if (json_object_get(report, "mount")) {
		name_printable(word(report, "mount"), source);
		fprintf(to, " on %s", source);
	}
	fprintf(to, "\n  %-10s %s, process %.0f, up ", "sealedfs", word(report, "sealedfs"),
		num(report, "pid"));
	print_uptime(num(report, "uptime_seconds"), to);
	fprintf(to, "\n  %-10s %s into PCR %.0f, unlock at %s, attest=%s, %.0f owner key%s\n",
		"measure", word(options, "measure"), num(options, "pcr"), word(options, "unlock"),
		word(options, "attest"), num(options, "owner_keys"),
		num(options, "owner_keys") == 1 ? "" : "s");
	fprintf(to, "  %-10s %s of buffers, %s in use; %s resident\n", "memory",
		amount(num(memory, "budget_bytes"), a),
		amount(num(memory, "buffers_in_use_bytes"), b),
		amount(num(memory, "resident_bytes"), c));
	fprintf(to, "  %-10s %s\n", "fill", word(options, "fill"));
	if (json_object_get(report, "crypto"))
		fprintf(to, "  %-10s %s\n", "crypto", word(report, "crypto"));
	print_aws(json_object_get(report, "aws"), to);
	print_stage(json_object_get(report, "stage"), to);
}

/* As the log does it: a message cannot forge a line. */
static void print_message(const char *text, FILE *to)
{
	for (const char *c = text; *c; c++)
		fputc((unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c, to);
}

static void print_reason(const json_t *reason, FILE *to)
{
	const char *hint = json_string_value(json_object_get(reason, "hint"));

	fputs("    why: ", to);
	print_message(word(reason, "message"), to);
	if (hint) {
		fputs("; ", to);
		print_message(hint, to);
	}
	fputc('\n', to);
}

static void print_reading(const json_t *m, FILE *to)
{
	const json_t *recent = json_object_get(m, "recent"), *errors = json_object_get(m, "errors");
	const json_t *rate = json_object_get(m, "hit_rate");
	char a[AMOUNT_SIZE], b[AMOUNT_SIZE];
	const char *kind;
	json_t *n;

	fprintf(to, "    read: %s, now %s/s, limited by %s\n", amount(num(m, "delivered_bytes"), a),
		amount(num(recent, "throughput_bytes_per_second"), b), word(recent, "limit"));
	fprintf(to, "    chunks: %.0f decrypted", num(m, "chunks_decrypted"));
	if (json_is_number(rate))
		fprintf(to, ", %.0f %% of requests found theirs decrypted",
			100 * json_number_value(rate));
	fprintf(to, "; %s fetched", amount(num(m, "fetched_bytes"), a));
	if (num(m, "filled_bytes") > 0)
		fprintf(to, ", %s put into the page cache ahead of readers",
			amount(num(m, "filled_bytes"), b));
	fputc('\n', to);
	json_object_foreach ((json_t *)(uintptr_t)errors, kind, n)
		if (json_number_value(n) > 0)
			fprintf(to, "    errors: %.0f %s\n", json_number_value(n), kind);
}

static void print_model(const json_t *m, FILE *to)
{
	const json_t *measured = json_object_get(m, "measured");
	const json_t *resident = json_object_get(m, "resident_bytes");
	const json_t *reason = json_object_get(m, "reason");
	char name[NAME_PRINTABLE_SIZE], size[AMOUNT_SIZE], a[AMOUNT_SIZE];

	name_printable(word(m, "name"), name);
	fprintf(to, "\n%s: %s, %s", name, amount(num(m, "size_bytes"), size), word(m, "state"));
	if (json_is_number(resident))
		fprintf(to, ", %s in the page cache", amount(json_number_value(resident), a));
	fputc('\n', to);
	if (reason)
		print_reason(reason, to);
	if (measured)
		fprintf(to, "    measured: %s, PCR %.0f%s\n", word(measured, "event"),
			num(measured, "pcr"),
			json_is_true(json_object_get(measured, "earlier_since_boot"))
				? ", by an earlier open since boot"
				: "");
	if (json_object_get(m, "recent"))
		print_reading(m, to);
}

void report_print_text(const json_t *report, FILE *to)
{
	const json_t *models = json_object_get(report, "models");

	print_head(report, to);
	for (size_t i = 0; i < json_array_size(models); i++)
		print_model(json_array_get(models, i), to);
}
