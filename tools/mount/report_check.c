/*
 * Checking of reports. Job: tables of valid members, and one walk over them. Trusts jansson for
 * JSON and UTF-8; does not trust the report, which any user who may mount FUSE file systems can
 * forge. Must never accept a name that leads out of the mount.
 */
#include "tools/mount/report_check.h"

#include "crypto/base/encode.h"
#include "crypto/format.h"
#include "crypto/name.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define UNKNOWN_TEXT_MAX 65536
#define DEPTH_MAX 8

enum kind {
	KIND_TEXT,    /* of the daemon's own words: nothing that misleads; max: bytes */
	KIND_OUTSIDE, /* may quote anything; max: bytes */
	KIND_WORD,    /* of: a list of words, ended by NULL */
	KIND_TIME,    /* "2026-02-03T10:12:02Z" */
	KIND_NAME,    /* of a model, from the root of the mount */
	KIND_INODE,   /* a decimal number as text */
	KIND_COUNT,   /* a whole number from 0 to max; 0: no limit */
	KIND_NUMBER,  /* from 0, perhaps with a fraction; max as above */
	KIND_NUMBERS, /* an object of such */
	KIND_BOOL,
	KIND_OBJECT,  /* of: a list of rules */
	KIND_OBJECTS, /* an object of objects of numbers */
	KIND_LIST,    /* of: a list with one rule, for each element */
};

enum { NEEDED = 1, OR_NULL = 2 };

struct rule {
	const char *name; /* NULL: ends the list */
	enum kind kind;
	uint64_t max;
	const void *of;
	unsigned flags;
};

static const char *const modes[] = {"verity", "sha384", "sha256", "declared", "set", "none", NULL};
static const char *const moments[] = {"open", "mount", NULL};
static const char *const readies[] = {"open", "unlocked", "measured", NULL};
static const char *const sets[] = {"auto", "require", "off", NULL};
static const char *const attests[] = {"none", "nitrotpm", NULL};
static const char *const fills[] = {"off", "auto", "all", NULL};
static const char *const states[] = {"sealed",	 "unlocking", "unlocked", "measured",
				     "poisoned", "broken",    NULL};
static const char *const limits[] = {"idle",   "reader", "network",    "disk",
				     "cipher", "hash",	 "page cache", NULL};

static const char *const residents_words[] = {"on", "off", NULL};
static const char *const residencies[] = {"none",     "waiting", "filling",
					  "resident", "leaving", NULL};

static const struct rule options[] = {
	{"measure", KIND_WORD, 0, modes, NEEDED},
	{"set", KIND_WORD, 0, sets, 0},
	{"pcr", KIND_COUNT, 23, NULL, NEEDED},
	{"unlock", KIND_WORD, 0, moments, NEEDED},
	{"attest", KIND_WORD, 0, attests, NEEDED},
	{"measure_when", KIND_WORD, 0, moments, 0},
	{"ready", KIND_WORD, 0, readies, 0},
	{"fill", KIND_WORD, 0, fills, NEEDED},
	{"resident", KIND_WORD, 0, residents_words, 0},
	{"stage", KIND_OUTSIDE, 8192, NULL, OR_NULL},
	{"owner_keys", KIND_COUNT, 1024, NULL, NEEDED},
	{"allow_foreign_extend", KIND_BOOL, 0, NULL, 0},
	{"allow_other", KIND_BOOL, 0, NULL, 0},
	{0},
};
static const struct rule note[] = {{"note", KIND_OUTSIDE, 8192, NULL, 0}, {0}};
static const struct rule reason[] = {
	{"message", KIND_OUTSIDE, 8192, NULL, NEEDED},
	{"hint", KIND_OUTSIDE, 8192, NULL, OR_NULL},
	{"exit_code", KIND_COUNT, EXIT_CODE_UNREACHABLE, NULL, NEEDED},
	{0},
};
static const struct rule listing[] = {
	{"reloads", KIND_COUNT, UINT32_MAX, NULL, NEEDED},
	{"last_reload_failed", KIND_BOOL, 0, NULL, NEEDED},
	{"reason", KIND_OBJECT, 0, reason, 0},
	{"hidden", KIND_COUNT, 0, NULL, NEEDED},
	{"notes", KIND_LIST, 0, note, 0},
	{"more_notes", KIND_COUNT, 0, NULL, 0},
	{0},
};
static const struct rule recent[] = {
	{"window_seconds", KIND_NUMBER, 0, NULL, 0},
	{"throughput_bytes_per_second", KIND_NUMBER, 0, NULL, NEEDED},
	{"limit", KIND_WORD, 0, limits, NEEDED},
	{"seconds", KIND_NUMBERS, 0, NULL, 0},
	{0},
};
#define STATS                                                                                     \
	{"reads", KIND_COUNT, 0, NULL, 0}, {"delivered_bytes", KIND_COUNT, 0, NULL, 0},           \
		{"filled_bytes", KIND_COUNT, 0, NULL, 0}, {"fetches", KIND_COUNT, 0, NULL, 0},    \
		{"fetched_bytes", KIND_COUNT, 0, NULL, 0},                                        \
		{"chunks_decrypted", KIND_COUNT, 0, NULL, 0},                                     \
		{"chunk_hits", KIND_COUNT, 0, NULL, 0}, {"chunk_misses", KIND_COUNT, 0, NULL, 0}, \
		{"hit_rate", KIND_NUMBER, 1, NULL, OR_NULL},                                      \
		{"reads_in_flight", KIND_COUNT, 0, NULL, 0},                                      \
		{"seconds", KIND_NUMBERS, 0, NULL, 0}, {"errors", KIND_NUMBERS, 0, NULL, 0},      \
	{                                                                                         \
		"recent", KIND_OBJECT, 0, recent, 0                                               \
	}
static const struct rule total[] = {STATS, {0}};
static const struct rule measured[] = {
	{"mode", KIND_WORD, 0, modes, NEEDED},
	{"pcr", KIND_COUNT, 23, NULL, NEEDED},
	{"event", KIND_TEXT, 512, NULL, NEEDED},
	{"earlier_since_boot", KIND_BOOL, 0, NULL, NEEDED},
	{0},
};
static const struct rule recipient[] = {{"recipient", KIND_OUTSIDE, 1024, NULL, 0}, {0}};
static const struct rule oms[] = {
	{"key", KIND_TEXT, 64, NULL, NEEDED},
	{"name", KIND_OUTSIDE, 8192, NULL, NEEDED},
	{"files", KIND_COUNT, 0, NULL, NEEDED},
	{"ignored", KIND_COUNT, 65536, NULL, NEEDED},
	{"not_checked", KIND_OUTSIDE, 8192, NULL, NEEDED | OR_NULL},
	{0},
};
static const struct rule set[] = {
	{"name", KIND_OUTSIDE, 8192, NULL, NEEDED},
	{"id", KIND_TEXT, 64, NULL, NEEDED},
	{"version", KIND_COUNT, 0, NULL, NEEDED},
	{"members", KIND_COUNT, 65536, NULL, NEEDED},
	{"created", KIND_TIME, 0, NULL, OR_NULL},
	{"expires", KIND_TIME, 0, NULL, OR_NULL},
	{"expires_seconds", KIND_COUNT, 0, NULL, 0},
	{"content", KIND_TEXT, 64, NULL, NEEDED},
	{"signer", KIND_TEXT, 64, NULL, OR_NULL},
	{"oms", KIND_OBJECT, 0, oms, 0},
	{"recipients", KIND_LIST, 0, recipient, 0},
	{"measured", KIND_OBJECT, 0, measured, 0},
	{0},
};
static const struct rule pcr[] = {
	{"number", KIND_COUNT, 23, NULL, NEEDED},
	{"shows_what_is_served", KIND_BOOL, 0, NULL, NEEDED},
	{"reason", KIND_OBJECT, 0, reason, 0},
	{0},
};
static const struct rule residency[] = {
	{"state", KIND_WORD, 0, residencies, NEEDED},
	{"bytes", KIND_COUNT, 0, NULL, NEEDED},
	{"attached_files", KIND_COUNT, 0, NULL, NEEDED},
	{"reason", KIND_OBJECT, 0, reason, 0},
	{0},
};
static const struct rule residents[] = {
	{"limit_bytes", KIND_COUNT, 0, NULL, OR_NULL}, {"used_bytes", KIND_COUNT, 0, NULL, NEEDED},
	{"possible", KIND_BOOL, 0, NULL, NEEDED},      {"huge_pages", KIND_BOOL, 0, NULL, 0},
	{"reason", KIND_OBJECT, 0, reason, 0},	       {0},
};
static const struct rule model[] = {
	{"name", KIND_NAME, 0, NULL, NEEDED},
	{"inode", KIND_INODE, 0, NULL, NEEDED},
	{"size_bytes", KIND_COUNT, SEAL_LENGTH_MAX, NULL, NEEDED},
	{"state", KIND_WORD, 0, states, NEEDED},
	{"reason", KIND_OBJECT, 0, reason, 0},
	{"recipients", KIND_LIST, 0, recipient, 0},
	{"unlock_failures", KIND_COUNT, 0, NULL, 0},
	{"unlocked", KIND_TIME, 0, NULL, OR_NULL},
	{"measured", KIND_OBJECT, 0, measured, 0},
	{"residency", KIND_OBJECT, 0, residency, 0},
	STATS,
	{0},
};
static const struct rule models[] = {{"model", KIND_OBJECT, 0, model, 0}, {0}};
static const struct rule whole[] = {
	{"sealedfs", KIND_TEXT, 64, NULL, NEEDED},
	{"pid", KIND_COUNT, INT32_MAX, NULL, NEEDED},
	{"source", KIND_OUTSIDE, 8192, NULL, NEEDED},
	{"started", KIND_TIME, 0, NULL, OR_NULL},
	{"start_seconds", KIND_COUNT, 0, NULL, 0},
	{"uptime_seconds", KIND_COUNT, 0, NULL, NEEDED},
	{"options", KIND_OBJECT, 0, options, NEEDED},
	{"crypto", KIND_TEXT, 512, NULL, 0},
	{"memory", KIND_NUMBERS, 0, NULL, NEEDED},
	{"residents", KIND_OBJECT, 0, residents, 0},
	{"pcr", KIND_OBJECT, 0, pcr, 0},
	{"set", KIND_OBJECT, 0, set, 0},
	{"listing", KIND_OBJECT, 0, listing, NEEDED},
	{"aws", KIND_OBJECTS, 0, NULL, 0},
	{"stage", KIND_NUMBERS, 0, NULL, 0},
	{"total", KIND_OBJECT, 0, total, NEEDED},
	{"models", KIND_LIST, 0, models, NEEDED},
	{"models_omitted", KIND_COUNT, 0, NULL, 0},
	{0},
};

/* Base64 of core and signature block. */
#define HEAD_TEXT_MAX 4096
static const struct rule seal[] = {
	{"name", KIND_NAME, 0, NULL, NEEDED},
	{"state", KIND_WORD, 0, states, NEEDED},
	{"measured", KIND_TEXT, 512, NULL, NEEDED | OR_NULL},
	{"head", KIND_TEXT, HEAD_TEXT_MAX, NULL, NEEDED},
	{0},
};
static const struct rule set_head[] = {{"head", KIND_TEXT, HEAD_TEXT_MAX, NULL, NEEDED}, {0}};
static const struct rule seals[] = {{"seal", KIND_OBJECT, 0, seal, 0}, {0}};
static const struct rule sealed[] = {
	{"models", KIND_COUNT, 0, NULL, NEEDED},
	{"set", KIND_OBJECT, 0, set_head, 0},
	{"seals", KIND_LIST, 0, seals, NEEDED},
	{"seals_omitted", KIND_COUNT, 0, NULL, NEEDED},
	{0},
};

static bool is_plain(const char *text)
{
	size_t size = strlen(text), n;
	uint32_t c;

	for (size_t i = 0; i < size; i += n) {
		n = utf8_next((const uint8_t *)text + i, size - i, &c);
		if (n == 0 || char_misleads(c))
			return false;
	}
	return true;
}

static bool is_word(const char *text, const char *const *words)
{
	for (; *words; words++)
		if (strcmp(*words, text) == 0)
			return true;
	return false;
}

static bool is_time(const char *text)
{
	static const char form[] = "dddd-dd-ddTdd:dd:ddZ";

	if (strlen(text) != sizeof(form) - 1)
		return false;
	for (size_t i = 0; form[i]; i++)
		if (form[i] == 'd' ? text[i] < '0' || text[i] > '9' : text[i] != form[i])
			return false;
	return true;
}

static bool is_inode(const char *text)
{
	uint64_t n;

	return text[0] != '0' && number_parse(text, 10, UINT64_MAX, &n) == 0 && n > 1;
}

static bool check_text(const char *text, size_t size, const struct rule *r)
{
	/* jansson refuses NUL unless told otherwise by a flag. */
	switch (r->kind) {
	case KIND_TEXT:
		return size <= r->max && is_plain(text);
	case KIND_OUTSIDE:
		return size <= r->max;
	case KIND_WORD:
		return is_word(text, r->of);
	case KIND_TIME:
		return is_time(text);
	case KIND_NAME:
		return !model_path_problem(text, size);
	default:
		return is_inode(text);
	}
}

static bool check_number(const json_t *value, uint64_t max, bool whole_only)
{
	if (json_is_integer(value))
		return json_integer_value(value) >= 0 &&
		       (max == 0 || (uint64_t)json_integer_value(value) <= max);
	return !whole_only && json_is_real(value) && json_real_value(value) >= 0 &&
	       (max == 0 || json_real_value(value) <= (double)max);
}

/* An object of numbers; of_objects: of such objects. */
static bool check_members(const json_t *object, bool of_objects)
{
	const char *name;
	json_t *value;

	if (!json_is_object(object))
		return false;
	json_object_foreach ((json_t *)(uintptr_t)object, name, value)
		if (!(of_objects ? check_members(value, false) : check_number(value, 0, false)) ||
		    !is_plain(name))
			return false;
	return true;
}

/* A member that this version does not know. */
static bool check_unknown(const json_t *value, unsigned depth)
{
	const char *name;
	json_t *member;

	if (depth > DEPTH_MAX)
		return false;
	if (json_is_string(value))
		return json_string_length(value) <= UNKNOWN_TEXT_MAX;
	for (size_t i = 0; i < json_array_size(value); i++)
		if (!check_unknown(json_array_get(value, i), depth + 1))
			return false;
	json_object_foreach ((json_t *)(uintptr_t)value, name, member)
		if (strlen(name) > UNKNOWN_TEXT_MAX || !check_unknown(member, depth + 1))
			return false;
	return true;
}

static int check_object(const json_t *object, const struct rule *rules, struct error *err);

static int check_value(const json_t *value, const struct rule *r, struct error *err)
{
	bool good = false;

	if (json_is_null(value) && (r->flags & OR_NULL))
		return 0;
	switch (r->kind) {
	case KIND_OBJECT:
		return check_object(value, r->of, err);
	case KIND_LIST:
		good = json_is_array(value);
		for (size_t i = 0; i < json_array_size(value); i++) {
			int code = check_value(json_array_get(value, i), r->of, err);

			if (code < 0)
				return code;
		}
		break;
	case KIND_COUNT:
	case KIND_NUMBER:
		good = check_number(value, r->max, r->kind == KIND_COUNT);
		break;
	case KIND_NUMBERS:
		good = check_members(value, false);
		break;
	case KIND_OBJECTS:
		good = check_members(value, true);
		break;
	case KIND_BOOL:
		good = json_is_boolean(value);
		break;
	default:
		good = json_is_string(value) &&
		       check_text(json_string_value(value), json_string_length(value), r);
	}
	return good ? 0 : error_set(err, -EPROTO, "its \"%s\" is invalid", r->name);
}

static int check_object(const json_t *object, const struct rule *rules, struct error *err)
{
	const char *name;
	json_t *value;

	if (!json_is_object(object))
		return error_set(err, -EPROTO, "it has a value where an object belongs");
	for (const struct rule *r = rules; r->name; r++)
		if ((r->flags & NEEDED) && !json_object_get(object, r->name))
			return error_set(err, -EPROTO, "its \"%s\" is missing", r->name);
	json_object_foreach ((json_t *)(uintptr_t)object, name, value) {
		const struct rule *r = rules;
		int code = 0;

		while (r->name && strcmp(r->name, name) != 0)
			r++;
		if (r->name)
			code = check_value(value, r, err);
		else if (!check_unknown(value, 0))
			code = error_set(err, -EPROTO, "a member of it is too big");
		if (code < 0)
			return code;
	}
	return 0;
}

int report_check_seals(const json_t *report, struct error *err)
{
	return check_object(report, sealed, err);
}

int report_check(const json_t *report, struct error *err)
{
	return check_object(report, whole, err);
}
