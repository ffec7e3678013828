/*
 * The report for people. Job: print the mount in a few lines, then each model in one or two, and
 * what is wrong with it and what to do. Trusts no name and no message: every line passes
 * printable.h.
 */
#include "fs/report/writer_internal.h"

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
		print_safely(to, "%llu d %llu h", all / 86400, all / 3600 % 24);
	else if (all >= 3600)
		print_safely(to, "%llu h %llu min", all / 3600, all / 60 % 60);
	else if (all >= 60)
		print_safely(to, "%llu min %llu s", all / 60, all % 60);
	else
		print_safely(to, "%llu s", all);
}

static void print_aws(const json_t *aws, FILE *to)
{
	const char *service;
	json_t *n;

	json_object_foreach ((json_t *)(uintptr_t)aws, service, n)
		if (num(n, "requests") > 0)
			print_safely(
				to,
				"  %-10s %.0f requests, %.0f retries, %.0f SlowDown, %.0f failed\n",
				service, num(n, "requests"), num(n, "retries"),
				num(n, "slow_downs"), num(n, "failures"));
}

static void print_stage(const json_t *stage, FILE *to)
{
	char a[AMOUNT_SIZE], b[AMOUNT_SIZE], c[AMOUNT_SIZE], d[AMOUNT_SIZE];

	if (stage)
		print_safely(
			to, "  %-10s %s of %s; %s read from it, %s from the source\n", "stage",
			amount(num(stage, "staged_bytes"), a), amount(num(stage, "limit_bytes"), b),
			amount(num(stage, "hit_bytes"), c), amount(num(stage, "miss_bytes"), d));
}

static void print_reason(const json_t *reason, FILE *to)
{
	const char *hint = json_string_value(json_object_get(reason, "hint"));

	print_safely(to, "    why: %s%s%s\n", word(reason, "message"), hint ? "; " : "",
		     hint ? hint : "");
}

/* A failed reload, and objects that the mount does not show or shows unexpectedly. */
static void print_listing(const json_t *listing, FILE *to)
{
	const json_t *notes = json_object_get(listing, "notes");
	const json_t *reason = json_object_get(listing, "reason");

	if (reason) {
		print_safely(to, "  %-10s the last reload failed; the listing is the one before\n",
			     "listing");
		print_reason(reason, to);
	}
	if (num(listing, "hidden") > 0)
		print_safely(to, "  %-10s %.0f objects of the source are not shown\n", "hidden",
			     num(listing, "hidden"));
	for (size_t i = 0; i < json_array_size(notes); i++)
		print_safely(to, "  %-10s %s\n", "note",
			     json_string_value(json_array_get(notes, i)));
	if (num(listing, "more_notes") > 0)
		print_safely(to, "  %-10s %.0f more like these\n", "note",
			     num(listing, "more_notes"));
}

/* Prints nothing if all is well: the line about measuring has the number. */
static void print_pcr(const json_t *pcr, FILE *to)
{
	if (!json_is_false(json_object_get(pcr, "shows_what_is_served")))
		return;
	print_safely(to, "  %-10s PCR %.0f was not seen to show what is served\n", "pcr",
		     num(pcr, "number"));
	print_reason(json_object_get(pcr, "reason"), to);
}

static void print_residents(const json_t *residents, FILE *to)
{
	const json_t *limit = json_object_get(residents, "limit_bytes");
	char a[AMOUNT_SIZE], b[AMOUNT_SIZE];

	if (!residents)
		return;
	print_safely(to, "  %-10s %s of plaintext in memory", "resident",
		     amount(num(residents, "used_bytes"), a));
	if (json_is_number(limit))
		print_safely(to, ", at most %s", amount(json_number_value(limit), b));
	fputc('\n', to);
	if (json_object_get(residents, "reason"))
		print_reason(json_object_get(residents, "reason"), to);
}

static void print_residency(const json_t *residency, FILE *to)
{
	const json_t *reason = json_object_get(residency, "reason");
	char a[AMOUNT_SIZE];

	if (!residency || (strcmp(word(residency, "state"), "none") == 0 && !reason))
		return;
	if (reason) {
		print_safely(to, "    not resident: %s\n", word(reason, "message"));
		return;
	}
	print_safely(to, "    %s: %s in memory; the kernel serves %.0f open file%s from it\n",
		     word(residency, "state"), amount(num(residency, "bytes"), a),
		     num(residency, "attached_files"),
		     num(residency, "attached_files") == 1 ? "" : "s");
}

static void print_measured(const json_t *measured, FILE *to)
{
	if (measured)
		print_safely(to, "    measured: %s, PCR %.0f%s\n", word(measured, "event"),
			     num(measured, "pcr"),
			     json_is_true(json_object_get(measured, "earlier_since_boot"))
				     ? ", by an earlier open since boot"
				     : "");
}

static void print_recipients(const json_t *in, FILE *to)
{
	const json_t *list = json_object_get(in, "recipients");

	if (json_array_size(list) == 0)
		return;
	fputs("    recipients:", to);
	for (size_t i = 0; i < json_array_size(list); i++)
		print_safely(to, "%s %s", i > 0 ? "," : "",
			     json_string_value(json_array_get(list, i)));
	fputc('\n', to);
}

static void print_bundle(const json_t *bundle, FILE *to)
{
	const json_t *unchecked = json_object_get(bundle, "not_checked");

	if (!bundle)
		return;
	print_safely(to, "    OMS bundle: %.0f files of \"%s\", signed by the key %.16s...\n",
		     num(bundle, "files"), word(bundle, "name"), word(bundle, "key"));
	if (num(bundle, "ignored") > 0)
		print_safely(to, "    it leaves out %.0f of the members\n", num(bundle, "ignored"));
	if (json_is_string(unchecked))
		print_safely(to, "    not checked in it: %s\n", json_string_value(unchecked));
}

static void print_set(const json_t *set, FILE *to)
{
	const char *expires = json_string_value(json_object_get(set, "expires"));

	if (!set)
		return;
	print_safely(to, "  %-10s %s, version %.0f of %s, %.0f members%s%s; id %.16s...\n", "set",
		     word(set, "name"), num(set, "version"), word(set, "created"),
		     num(set, "members"), expires ? ", expires " : "", expires ? expires : "",
		     word(set, "id"));
	print_recipients(set, to);
	print_bundle(json_object_get(set, "oms"), to);
	print_measured(json_object_get(set, "measured"), to);
}

void text_head(const json_t *report, FILE *to)
{
	const json_t *memory = json_object_get(report, "memory");
	const json_t *options = json_object_get(report, "options");
	char source[NAME_PRINTABLE_SIZE], a[AMOUNT_SIZE], b[AMOUNT_SIZE], c[AMOUNT_SIZE];

	name_printable(word(report, "source"), source);
	fputs(source, to);
	if (json_object_get(report, "mount")) {
		name_printable(word(report, "mount"), source);
		print_safely(to, " on %s", source);
	}
	print_safely(to, "\n  %-10s %s, process %.0f, up ", "sealedfs", word(report, "sealedfs"),
		     num(report, "pid"));
	print_uptime(num(report, "uptime_seconds"), to);
	print_safely(to, "\n  %-10s %s", "measure", word(options, "measure"));
	if (strcmp(word(options, "measure"), "none") != 0)
		print_safely(to, " into PCR %.0f", num(options, "pcr"));
	print_safely(to, ", ready=%s, attest=%s, %.0f owner key%s\n", word(options, "ready"),
		     word(options, "attest"), num(options, "owner_keys"),
		     num(options, "owner_keys") == 1 ? "" : "s");
	print_pcr(json_object_get(report, "pcr"), to);
	print_safely(to, "  %-10s %s of buffers, %s in use; %s resident\n", "memory",
		     amount(num(memory, "budget_bytes"), a),
		     amount(num(memory, "buffers_in_use_bytes"), b),
		     amount(num(memory, "resident_bytes"), c));
	print_safely(to, "  %-10s %s\n", "fill", word(options, "fill"));
	if (json_object_get(report, "crypto"))
		print_safely(to, "  %-10s %s\n", "crypto", word(report, "crypto"));
	print_residents(json_object_get(report, "residents"), to);
	print_aws(json_object_get(report, "aws"), to);
	print_stage(json_object_get(report, "stage"), to);
	print_set(json_object_get(report, "set"), to);
	print_listing(json_object_get(report, "listing"), to);
}

static void print_reading(const json_t *m, FILE *to)
{
	const json_t *recent = json_object_get(m, "recent"), *errors = json_object_get(m, "errors");
	const json_t *rate = json_object_get(m, "hit_rate");
	char a[AMOUNT_SIZE], b[AMOUNT_SIZE];
	const char *kind;
	json_t *n;

	print_safely(to, "    read: %s, now ", amount(num(m, "delivered_bytes"), a));
	if (strcmp(word(recent, "limit"), "idle") == 0)
		fputs("idle\n", to);
	else
		print_safely(to, "%s/s, limited by %s\n",
			     amount(num(recent, "throughput_bytes_per_second"), b),
			     word(recent, "limit"));
	print_safely(to, "    chunks: %.0f decrypted", num(m, "chunks_decrypted"));
	if (json_is_number(rate))
		print_safely(to, ", cache hit rate %.0f %%", 100 * json_number_value(rate));
	print_safely(to, "; %s fetched", amount(num(m, "fetched_bytes"), a));
	if (num(m, "filled_bytes") > 0)
		print_safely(to, ", %s loaded into the page cache ahead of readers",
			     amount(num(m, "filled_bytes"), b));
	fputc('\n', to);
	json_object_foreach ((json_t *)(uintptr_t)errors, kind, n)
		if (json_number_value(n) > 0)
			print_safely(to, "    errors: %.0f %s\n", json_number_value(n), kind);
}

static void print_waiting(const json_t *m, FILE *to)
{
	const json_t *list = json_object_get(m, "waiting");

	if (json_array_size(list) == 0)
		return;
	fprintf(to, "    waiting: %.0f reader%s of data that cannot be read:",
		num(m, "waiting_readers"), num(m, "waiting_readers") == 1 ? "" : "s");
	for (size_t i = 0; i < json_array_size(list); i++)
		fprintf(to, "%s process %.0f at offset %.0f", i > 0 ? "," : "",
			num(json_array_get(list, i), "process"),
			num(json_array_get(list, i), "offset"));
	fprintf(to, "%s\n",
		num(m, "waiting_readers") > (double)json_array_size(list) ? ", ..." : "");
}

void text_model(const json_t *m, FILE *to)
{
	const json_t *resident = json_object_get(m, "resident_bytes");
	const json_t *reason = json_object_get(m, "reason");
	char name[NAME_PRINTABLE_SIZE], size[AMOUNT_SIZE], a[AMOUNT_SIZE];

	name_printable(word(m, "name"), name);
	print_safely(to, "\n%s: %s, %s", name, amount(num(m, "size_bytes"), size),
		     word(m, "state"));
	if (json_is_number(resident))
		print_safely(to, ", %s in the page cache", amount(json_number_value(resident), a));
	fputc('\n', to);
	if (reason)
		print_reason(reason, to);
	print_recipients(m, to);
	print_measured(json_object_get(m, "measured"), to);
	print_residency(json_object_get(m, "residency"), to);
	if (json_object_get(m, "recent"))
		print_reading(m, to);
	print_waiting(m, to);
}
