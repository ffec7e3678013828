/*
 * The options of a mount. Job: one table from names to fields, for -o and for the configuration
 * file. Trusts nobody: a value that is not understood to its last character is refused, and so is
 * an unknown option: a mistyped "owner-kay" must not mount without its check. Must never take a
 * secret as a value: key options name files.
 */
#include "fs/config/options_internal.h"

#include "crypto/base/encode.h"
#include "fs/aws/kms_arn.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

enum option_kind {
	OPT_FLAG,    /* sets a bool */
	OPT_STRING,  /* char *, the last one wins */
	OPT_LIST,    /* struct config_list; a function, if there is one, adds to it */
	OPT_CHOICE,  /* an enum: the index of the value in `words` */
	OPT_NUMBER,  /* unsigned, at most `max` */
	OPT_PARSED,  /* has its own function */
	OPT_REFUSED, /* known, and impossible here */
};

struct option_spec {
	const char *name;
	enum option_kind kind;
	size_t offset;
	int (*parse)(struct config *c, const char *value, struct error *err);
	const char *const *words; /* NULL at the end; the empty word is no value */
	unsigned max;
};

static int bad_value(struct error *err, const char *name, const char *value, const char *want)
{
	return error_set(err, -EINVAL, "option %s=%s: %s", name, value, want);
}

static int parse_measure(struct config *c, const char *value, struct error *err)
{
	if (measure_mode_parse(value, &c->measure) < 0)
		return bad_value(err, "measure", value,
				 "must be verity, set, sha384, sha256, declared or none");
	c->measure_given = true;
	return 0;
}

static int parse_pcr(struct config *c, const char *value, struct error *err)
{
	uint64_t v;

	if (number_parse(value, 10, PCR_COUNT - 1, &v) < 0)
		return bad_value(err, "pcr", value, "must be a number from 0 to 31");
	c->pcr = (unsigned)v;
	c->pcr_given = true;
	return 0;
}

static int parse_old(const char *name, const char *value, enum config_old_when *field,
		     struct error *err)
{
	if (strcmp(value, "open") != 0 && strcmp(value, "mount") != 0)
		return bad_value(err, name, value, "must be open or mount");
	*field = strcmp(value, "mount") == 0 ? CONFIG_OLD_MOUNT : CONFIG_OLD_OPEN;
	return 0;
}

static int parse_unlock(struct config *c, const char *value, struct error *err)
{
	return parse_old("unlock", value, &c->old_unlock, err);
}

static int parse_measure_when(struct config *c, const char *value, struct error *err)
{
	return parse_old("measure-when", value, &c->old_measure, err);
}

static int parse_memory(struct config *c, const char *value, struct error *err)
{
	uint64_t v;

	if (config_size(value, CONFIG_MEMORY_MIN, CONFIG_MEMORY_MAX, &v) < 0)
		return bad_value(err, "memory", value,
				 "must be a size from 32M to 64G, as in 256M or 2G");
	c->memory_bytes = (size_t)v;
	return 0;
}

static int parse_confine(struct config *c, const char *value, struct error *err)
{
	c->unconfined = strcmp(value, "off") == 0;
	return c->unconfined || strcmp(value, "on") == 0
		       ? 0
		       : bad_value(err, "confine", value, "must be on or off");
}

static int parse_crypto(struct config *c, const char *value, struct error *err)
{
	if (crypto_choice_parse(value, &c->crypto) < 0)
		return bad_value(err, "crypto", value, "must be auto, openssl or ipsec-mb");
	return 0;
}

/* Sorted: the list is measured, and its order must not matter. */
static int parse_kms_key(struct config *c, const char *value, struct error *err)
{
	struct config_list *list = &c->kms_keys;
	int r = kms_pin_check(value, err);

	if (r < 0)
		return error_prefix(err, r, "option kms-key");
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->items[i], value) == 0)
			return 0;
	r = config_list_add(list, value);
	for (size_t i = list->count; r == 0 && i-- > 1;) {
		char *before = list->items[i - 1];

		if (strcmp(before, list->items[i]) <= 0)
			break;
		list->items[i - 1] = list->items[i];
		list->items[i] = before;
	}
	return r;
}

static int parse_gid(struct config *c, const char *value, struct error *err)
{
	uint64_t v;

	if (number_parse(value, 10, UINT32_MAX - 1, &v) < 0)
		return bad_value(err, "gid", value, "must be a number");
	c->gid = (gid_t)v;
	c->gid_given = true;
	return 0;
}

static int parse_mode(struct config *c, const char *value, struct error *err)
{
	uint64_t v;

	if (number_parse(value, 8, 0777, &v) < 0)
		return bad_value(err, "mode", value, "must be octal permission bits, as in 0440");
	c->mode = (mode_t)v;
	return 0;
}

#define FIELD(name) offsetof(struct config, name)

static const char *const attest_words[] = {[CONFIG_ATTEST_NITROTPM] = "nitrotpm",
					   [CONFIG_ATTEST_NSM] = "nsm",
					   [CONFIG_ATTEST_NONE] = "none",
					   NULL};
static const char *const ready_words[] = {[CONFIG_READY_DEFAULT] = "",
					  [CONFIG_READY_OPEN] = "open",
					  [CONFIG_READY_UNLOCKED] = "unlocked",
					  [CONFIG_READY_MEASURED] = "measured",
					  NULL};
static const char *const ollama_words[] = {
	[OLLAMA_AUTO] = "", [OLLAMA_ON] = "on", [OLLAMA_OFF] = "off", NULL};
static const char *const set_words[] = {[CONFIG_SET_AUTO] = "auto",
					[CONFIG_SET_REQUIRE] = "require",
					[CONFIG_SET_OFF] = "off",
					NULL};
static const char *const fill_words[] = {
	[READ_FILL_OFF] = "off", [READ_FILL_AUTO] = "auto", [READ_FILL_ALL] = "all", NULL};

static const struct option_spec specs[] = {
	{"owner-key", OPT_LIST, FIELD(owner_keys)},
	{"key-file", OPT_LIST, FIELD(keyfiles)},
	{"kms-key", OPT_LIST, FIELD(kms_keys), .parse = parse_kms_key},
	{"kms-policy", OPT_STRING, FIELD(kms_policy)},
	{"measure", OPT_PARSED, .parse = parse_measure},
	{"set", OPT_CHOICE, FIELD(set), .words = set_words},
	{"set-id", OPT_STRING, FIELD(set_id)},
	{"set-state", OPT_STRING, FIELD(set_state)},
	{"set-min-version", OPT_NUMBER, FIELD(set_min_version), .max = UINT32_MAX},
	{"oms", OPT_STRING, FIELD(oms)},
	{"oms-key", OPT_STRING, FIELD(oms_key)},
	{"oms-read", OPT_FLAG, FIELD(oms_read)},
	{"pcr", OPT_PARSED, .parse = parse_pcr},
	{"lock-pcr", OPT_FLAG, FIELD(lock_pcr)},
	{"allow-foreign-extend", OPT_FLAG, FIELD(allow_foreign_extend)},
	{"event-log", OPT_STRING, FIELD(event_log)},
	{"ready", OPT_CHOICE, FIELD(ready), .words = ready_words},
	{"unlock", OPT_PARSED, .parse = parse_unlock},
	{"measure-when", OPT_PARSED, .parse = parse_measure_when},
	{"model", OPT_LIST, FIELD(models)},
	{"allow-empty", OPT_FLAG, FIELD(allow_empty)},
	{"wait", OPT_NUMBER, FIELD(wait_s), .max = CONFIG_WAIT_MAX_S},
	{"ollama", OPT_CHOICE, FIELD(ollama), .words = ollama_words},
	{"setuid", OPT_STRING, FIELD(user)},
	{"attest", OPT_CHOICE, FIELD(attest), .words = attest_words},
	{"tcti", OPT_STRING, FIELD(tcti)},
	{"tpm-policy-signature", OPT_STRING, FIELD(tpm_signatures)},
	{"region", OPT_STRING, FIELD(region)},
	{"profile", OPT_STRING, FIELD(profile)},
	{"s3-endpoint", OPT_STRING, FIELD(s3_endpoint)},
	{"kms-endpoint", OPT_STRING, FIELD(kms_endpoint)},
	{"net", OPT_LIST, FIELD(net), .parse = config_add_net},
	{"allow-http", OPT_LIST, FIELD(allow_http)},
	{"path-style", OPT_FLAG, FIELD(path_style)},
	{"no-sign-request", OPT_FLAG, FIELD(anonymous)},
	{"request-payer", OPT_FLAG, FIELD(request_payer)},
	{"memory", OPT_PARSED, .parse = parse_memory},
	{"crypto", OPT_PARSED, .parse = parse_crypto},
	{"confine", OPT_PARSED, .parse = parse_confine},
	{"fill", OPT_CHOICE, FIELD(fill), .words = fill_words},
	{"resident", OPT_PARSED, .parse = config_parse_resident},
	{"stage", OPT_STRING, FIELD(stage)},
	{"stage-size", OPT_PARSED, .parse = config_parse_stage_size},
	{"uid", OPT_NUMBER, FIELD(uid), .max = UINT32_MAX - 1},
	{"gid", OPT_PARSED, .parse = parse_gid},
	{"mode", OPT_PARSED, .parse = parse_mode},
	{"allow_other", OPT_FLAG, FIELD(allow_other)},
	{"allow_root", OPT_FLAG, FIELD(allow_root)},
	{"fsname", OPT_STRING, FIELD(fsname)},
	{"subtype", OPT_STRING, FIELD(subtype)},
	{"context", OPT_STRING, FIELD(labels[0])},
	{"fscontext", OPT_STRING, FIELD(labels[1])},
	{"defcontext", OPT_STRING, FIELD(labels[2])},
	{"rootcontext", OPT_STRING, FIELD(labels[3])},
	{"rw", OPT_REFUSED},
	{"remount", OPT_REFUSED},
	{"direct_io", OPT_REFUSED},
};

/*
 * What mount(8), fstab and systemd put into option lists. Nothing follows from them: the mount is
 * always read-only, without devices, set-uid files, execution and times of access, and the kernel
 * checks permissions.
 */
static const char ignored[] =
	" default_permissions ro nodev dev nosuid suid noexec exec async sync dirsync noatime atime "
	"nodiratime diratime relatime norelatime strictatime nostrictatime lazytime nolazytime "
	"iversion noiversion mand nomand symfollow nosymfollow silent loud defaults auto noauto "
	"nofail _netdev user nouser users owner group nogroup comment ";

static const struct option_spec *find_option(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(specs); i++)
		if (strcmp(specs[i].name, name) == 0)
			return &specs[i];
	return NULL;
}

/* Options that begin with x- or X- are comments for other tools by definition. */
static bool is_ignored(const char *name)
{
	char word[32];

	if (strncmp(name, "x-", 2) == 0 || strncmp(name, "X-", 2) == 0)
		return true;
	return snprintf(word, sizeof(word), " %s ", name) < (int)sizeof(word) &&
	       !strchr(name, ' ') && strstr(ignored, word);
}

const char *config_word(const struct config *c, const char *name)
{
	const struct option_spec *spec = find_option(name);

	return spec->words[*(const unsigned *)((const char *)c + spec->offset)];
}

static int refuse_option(const char *name, struct error *err)
{
	if (strcmp(name, "rw") == 0) {
		error_hint(err, "mount with -o ro");
		return error_set(err, -EINVAL, "option rw: a mount of sealed models is read-only");
	}
	if (strcmp(name, "remount") == 0) {
		error_hint(err, "unmount, and mount with the new options");
		return error_set(err, -EINVAL, "option remount: a mount keeps its options");
	}
	error_hint(err, "leave it out; O_DIRECT works without it");
	return error_set(err, -EINVAL, "option %s: would keep programs from mapping a model", name);
}

static int set_choice(const struct option_spec *spec, unsigned *field, const char *value,
		      struct error *err)
{
	char want[128] = "must be ";
	size_t used = strlen(want);

	for (unsigned i = 0; spec->words[i]; i++) {
		if (!*spec->words[i])
			continue;
		if (strcmp(spec->words[i], value) == 0) {
			*field = i;
			return 0;
		}
		used += (size_t)snprintf(want + used, sizeof(want) - used, "%s%s", spec->words[i],
					 !spec->words[i + 1]  ? ""
					 : spec->words[i + 2] ? ", "
							      : " or ");
	}
	return bad_value(err, spec->name, value, want);
}

static int set_number(const struct option_spec *spec, unsigned *field, const char *value,
		      struct error *err)
{
	uint64_t v;

	if (number_parse(value, 10, spec->max, &v) < 0)
		return error_set(err, -EINVAL, "option %s=%s: must be a number, at most %u",
				 spec->name, value, spec->max);
	*field = (unsigned)v;
	return 0;
}

static int apply_option(struct config *c, const char *name, const char *value, struct error *err)
{
	const struct option_spec *spec = find_option(name);
	void *field;

	if (is_ignored(name))
		return 0;
	if (!spec) {
		error_hint(err, "sealedfs --help lists the options");
		return error_set(err, -EINVAL, "unknown option: %s", name);
	}
	/* mount(8) passes rw by default. */
	if (spec->kind == OPT_REFUSED && c->is_helper && strcmp(name, "rw") == 0)
		return 0;
	if (spec->kind == OPT_REFUSED)
		return refuse_option(name, err);
	if (spec->kind == OPT_FLAG && value)
		return error_set(err, -EINVAL, "option %s takes no value", name);
	if (spec->kind != OPT_FLAG && (!value || !*value))
		return error_set(err, -EINVAL, "option %s needs a value: %s=…", name, name);
	field = (char *)c + spec->offset;
	switch (spec->kind) {
	case OPT_FLAG:
		*(bool *)field = true;
		return 0;
	case OPT_STRING:
		return config_set_string(field, value);
	case OPT_CHOICE:
		return set_choice(spec, field, value, err);
	case OPT_NUMBER:
		return set_number(spec, field, value, err);
	case OPT_LIST:
		return spec->parse ? spec->parse(c, value, err) : config_list_add(field, value);
	default:
		return spec->parse(c, value, err);
	}
}

/* Copies what precedes the next comma without a backslash to out; returns what follows it. */
static const char *next_item(const char *in, char *out)
{
	for (; *in && *in != ','; in++) {
		if (*in == '\\' && in[1])
			in++;
		*out++ = *in;
	}
	*out = '\0';
	return *in == ',' ? in + 1 : in;
}

int config_apply_options(struct config *c, const char *text, struct error *err)
{
	_cleanup_free_ char *copy = strdup(text);
	const char *in = text;

	if (!copy)
		return -ENOMEM;
	while (*in) {
		char *value;
		int r;

		in = next_item(in, copy);
		if (!*copy)
			continue; /* ",," and a trailing comma are what scripts produce */
		value = strchr(copy, '=');
		if (value)
			*value++ = '\0';
		r = apply_option(c, copy, value, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int apply_switch(struct config *c, const struct option_spec *spec, const char *value,
			struct error *err)
{
	static const char *const words[][2] = {
		{"yes", "no"}, {"true", "false"}, {"on", "off"}, {"1", "0"}};

	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (strcmp(value, words[i][0]) == 0)
			return apply_option(c, spec->name, NULL, err);
		if (strcmp(value, words[i][1]) != 0)
			continue;
		*(bool *)((char *)c + spec->offset) = false;
		return 0;
	}
	return bad_value(err, spec->name, value, "must be yes or no");
}

/* "a, b": blanks around an item do not count. */
static int apply_items(struct config *c, const struct option_spec *spec, const char *value,
		       struct error *err)
{
	_cleanup_free_ char *copy = strdup(value);

	if (!copy)
		return -ENOMEM;
	for (const char *in = value; *in;) {
		char *item = copy;
		int r;

		in = next_item(in, copy);
		item += strspn(item, " \t");
		for (size_t n = strlen(item); n > 0 && strchr(" \t", item[n - 1]); n--)
			item[n - 1] = '\0';
		r = apply_option(c, spec->name, item, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int config_apply_key(void *arg, const char *key, const char *value, struct error *err)
{
	struct config *c = arg;
	const struct option_spec *spec = find_option(key);

	if (strcmp(key, "source") == 0)
		return config_set_string(&c->source, value);
	if (strcmp(key, "mountpoint") == 0)
		return config_set_string(&c->mountpoint, value);
	if (!spec || spec->kind == OPT_REFUSED) {
		error_hint(err, "sealedfs.conf(5) lists the keys");
		return error_set(err, -EINVAL, "unknown key: %s", key);
	}
	switch (spec->kind) {
	case OPT_FLAG:
		return apply_switch(c, spec, value, err);
	case OPT_LIST:
		return apply_items(c, spec, value, err);
	default:
		return apply_option(c, key, value, err);
	}
}
