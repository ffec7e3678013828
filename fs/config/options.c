/*
 * The options of a mount. Job: one table from names to fields, whether they come from -o or from a
 * configuration file. Trusts nobody: a value that is not understood to its last character is
 * refused, and so is an option that is not known: a mistyped "owner-kay" must not mount without its
 * check. Must never take a secret as a value: key options name files.
 */
#include "fs/config_options.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

enum option_kind {
	OPT_FLAG,    /* sets a bool */
	OPT_STRING,  /* char *, the last one wins */
	OPT_LIST,    /* struct config_list */
	OPT_PARSED,  /* has its own function */
	OPT_KERNEL,  /* handed to the kernel's mount as it is */
	OPT_IGNORED, /* for mount(8) and systemd */
	OPT_REFUSED, /* known, and impossible here */
};

struct option_spec {
	const char *name;
	enum option_kind kind;
	size_t offset;
	int (*parse)(struct config *c, const char *value, struct error *err);
};

static int bad_value(struct error *err, const char *name, const char *value, const char *want)
{
	return error_set(err, -EINVAL, "option %s=%s: %s", name, value, want);
}

static int parse_measure(struct config *c, const char *value, struct error *err)
{
	if (measure_mode_parse(value, &c->measure) < 0)
		return bad_value(err, "measure", value,
				 "must be verity, sha384, sha256, declared or none");
	return 0;
}

/* A whole decimal or octal number, nothing around it. */
static int parse_number(const char *text, int base, unsigned long max, unsigned long *ret)
{
	char *end = NULL;
	unsigned long v;

	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	errno = 0;
	v = strtoul(text, &end, base);
	if (errno || *end || v > max)
		return -EINVAL;
	*ret = v;
	return 0;
}

static int parse_pcr(struct config *c, const char *value, struct error *err)
{
	unsigned long v;

	if (parse_number(value, 10, PCR_COUNT - 1, &v) < 0 || !pcr_is_allowed((unsigned)v))
		return bad_value(err, "pcr", value,
				 "must be 0 to 15; software can reset 16 and 23, and 17 to 22 "
				 "belong to the processor");
	c->pcr = (unsigned)v;
	return 0;
}

static int parse_unlock(struct config *c, const char *value, struct error *err)
{
	if (strcmp(value, "open") != 0 && strcmp(value, "mount") != 0)
		return bad_value(err, "unlock", value, "must be open or mount");
	c->unlock_at_mount = strcmp(value, "mount") == 0;
	return 0;
}

static int parse_ollama(struct config *c, const char *value, struct error *err)
{
	if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0)
		return bad_value(err, "ollama", value, "must be on or off");
	c->ollama = strcmp(value, "on") == 0 ? OLLAMA_ON : OLLAMA_OFF;
	return 0;
}

static int parse_measure_when(struct config *c, const char *value, struct error *err)
{
	if (strcmp(value, "open") != 0 && strcmp(value, "mount") != 0)
		return bad_value(err, "measure-when", value, "must be open or mount");
	c->measure_at_mount = strcmp(value, "mount") == 0;
	return 0;
}

static int parse_attest(struct config *c, const char *value, struct error *err)
{
	if (strcmp(value, "nitrotpm") != 0 && strcmp(value, "none") != 0)
		return bad_value(err, "attest", value, "must be nitrotpm or none");
	c->attest = strcmp(value, "none") == 0 ? CONFIG_ATTEST_NONE : CONFIG_ATTEST_NITROTPM;
	return 0;
}

/* As in 4096, 256M, 2G or 1T, from min to max bytes. */
static int parse_size(const char *value, uint64_t min, uint64_t max, uint64_t *ret)
{
	static const char units[] = "KMGT";
	_cleanup_free_ char *digits = strdup(value);
	size_t len = strlen(value);
	const char *unit = len ? strchr(units, value[len - 1]) : NULL;
	unsigned shift = 0;
	unsigned long v;

	if (!digits)
		return -ENOMEM;
	if (unit && *unit) {
		shift = 10 * (unsigned)(unit - units + 1);
		digits[len - 1] = '\0';
	}
	if (parse_number(digits, 10, max >> shift, &v) < 0 || (uint64_t)v << shift < min)
		return -EINVAL;
	*ret = (uint64_t)v << shift;
	return 0;
}

static int parse_memory(struct config *c, const char *value, struct error *err)
{
	uint64_t v;

	if (parse_size(value, CONFIG_MEMORY_MIN, CONFIG_MEMORY_MAX, &v) < 0)
		return bad_value(err, "memory", value,
				 "must be a size from 32M to 64G, as in 256M or 2G");
	c->memory_bytes = (size_t)v;
	return 0;
}

static int parse_stage_size(struct config *c, const char *value, struct error *err)
{
	if (parse_size(value, CONFIG_STAGE_MIN, CONFIG_STAGE_MAX, &c->stage_bytes) < 0)
		return bad_value(err, "stage-size", value,
				 "must be a size from 1M to 1024T, as in 500G");
	return 0;
}

static int parse_crypto(struct config *c, const char *value, struct error *err)
{
	if (crypto_choice_parse(value, &c->crypto) < 0)
		return bad_value(err, "crypto", value, "must be auto, openssl or ipsec-mb");
	return 0;
}

static int parse_fill(struct config *c, const char *value, struct error *err)
{
	static const char *const names[] = {
		[READ_FILL_OFF] = "off", [READ_FILL_AUTO] = "auto", [READ_FILL_ALL] = "all"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(value, names[i]) == 0) {
			c->fill = (enum read_fill)i;
			return 0;
		}
	return bad_value(err, "fill", value, "must be auto, off or all");
}

static int parse_wait(struct config *c, const char *value, struct error *err)
{
	unsigned long v;

	if (parse_number(value, 10, CONFIG_WAIT_MAX_S, &v) < 0)
		return bad_value(err, "wait", value, "must be a number of seconds, at most a day");
	c->wait_s = (unsigned)v;
	return 0;
}

static int parse_uid(struct config *c, const char *value, struct error *err)
{
	unsigned long v;

	if (parse_number(value, 10, UINT32_MAX - 1, &v) < 0)
		return bad_value(err, "uid", value, "must be a number");
	c->uid = (uid_t)v;
	return 0;
}

static int parse_gid(struct config *c, const char *value, struct error *err)
{
	unsigned long v;

	if (parse_number(value, 10, UINT32_MAX - 1, &v) < 0)
		return bad_value(err, "gid", value, "must be a number");
	c->gid = (gid_t)v;
	return 0;
}

static int parse_mode(struct config *c, const char *value, struct error *err)
{
	unsigned long v;

	if (parse_number(value, 8, 0777, &v) < 0)
		return bad_value(err, "mode", value, "must be octal permission bits, as in 0440");
	c->mode = (mode_t)v;
	return 0;
}

#define FIELD(name) offsetof(struct config, name)

static const struct option_spec specs[] = {
	{"owner-key", OPT_LIST, FIELD(owner_keys), NULL},
	{"key-file", OPT_LIST, FIELD(keyfiles), NULL},
	{"measure", OPT_PARSED, 0, parse_measure},
	{"measure-when", OPT_PARSED, 0, parse_measure_when},
	{"pcr", OPT_PARSED, 0, parse_pcr},
	{"allow-foreign-extend", OPT_FLAG, FIELD(allow_foreign_extend), NULL},
	{"event-log", OPT_STRING, FIELD(event_log), NULL},
	{"unlock", OPT_PARSED, 0, parse_unlock},
	{"model", OPT_LIST, FIELD(models), NULL},
	{"wait", OPT_PARSED, 0, parse_wait},
	{"ollama", OPT_PARSED, 0, parse_ollama},
	{"setuid", OPT_STRING, FIELD(user), NULL},
	{"attest", OPT_PARSED, 0, parse_attest},
	{"tcti", OPT_STRING, FIELD(tcti), NULL},
	{"region", OPT_STRING, FIELD(region), NULL},
	{"profile", OPT_STRING, FIELD(profile), NULL},
	{"s3-endpoint", OPT_STRING, FIELD(s3_endpoint), NULL},
	{"kms-endpoint", OPT_STRING, FIELD(kms_endpoint), NULL},
	{"path-style", OPT_FLAG, FIELD(path_style), NULL},
	{"memory", OPT_PARSED, 0, parse_memory},
	{"crypto", OPT_PARSED, 0, parse_crypto},
	{"fill", OPT_PARSED, 0, parse_fill},
	{"stage", OPT_STRING, FIELD(stage), NULL},
	{"stage-size", OPT_PARSED, 0, parse_stage_size},
	{"uid", OPT_PARSED, 0, parse_uid},
	{"gid", OPT_PARSED, 0, parse_gid},
	{"mode", OPT_PARSED, 0, parse_mode},
	{"allow_other", OPT_FLAG, FIELD(allow_other), NULL},
	{"allow_root", OPT_FLAG, FIELD(allow_root), NULL},
	{"fsname", OPT_STRING, FIELD(fsname), NULL},
	{"subtype", OPT_STRING, FIELD(subtype), NULL},
	{"noexec", OPT_KERNEL, 0, NULL},
	{"noatime", OPT_KERNEL, 0, NULL},
	{"nodiratime", OPT_KERNEL, 0, NULL},
	/* Always on, whatever is asked for: permissions are checked by the kernel, nothing is
	 * writable, no device or set-uid file can be in the view. */
	{"default_permissions", OPT_IGNORED, 0, NULL},
	{"ro", OPT_IGNORED, 0, NULL},
	{"nodev", OPT_IGNORED, 0, NULL},
	{"dev", OPT_IGNORED, 0, NULL},
	{"nosuid", OPT_IGNORED, 0, NULL},
	{"suid", OPT_IGNORED, 0, NULL},
	{"exec", OPT_IGNORED, 0, NULL},
	{"async", OPT_IGNORED, 0, NULL},
	{"sync", OPT_IGNORED, 0, NULL},
	{"dirsync", OPT_IGNORED, 0, NULL},
	{"atime", OPT_IGNORED, 0, NULL},
	{"diratime", OPT_IGNORED, 0, NULL},
	{"relatime", OPT_IGNORED, 0, NULL},
	{"norelatime", OPT_IGNORED, 0, NULL},
	{"strictatime", OPT_IGNORED, 0, NULL},
	{"nostrictatime", OPT_IGNORED, 0, NULL},
	{"lazytime", OPT_IGNORED, 0, NULL},
	{"nolazytime", OPT_IGNORED, 0, NULL},
	{"iversion", OPT_IGNORED, 0, NULL},
	{"noiversion", OPT_IGNORED, 0, NULL},
	{"mand", OPT_IGNORED, 0, NULL},
	{"nomand", OPT_IGNORED, 0, NULL},
	{"symfollow", OPT_IGNORED, 0, NULL},
	{"nosymfollow", OPT_IGNORED, 0, NULL},
	{"silent", OPT_IGNORED, 0, NULL},
	{"loud", OPT_IGNORED, 0, NULL},
	{"defaults", OPT_IGNORED, 0, NULL},
	{"auto", OPT_IGNORED, 0, NULL},
	{"noauto", OPT_IGNORED, 0, NULL},
	{"nofail", OPT_IGNORED, 0, NULL},
	{"_netdev", OPT_IGNORED, 0, NULL},
	{"user", OPT_IGNORED, 0, NULL},
	{"nouser", OPT_IGNORED, 0, NULL},
	{"users", OPT_IGNORED, 0, NULL},
	{"owner", OPT_IGNORED, 0, NULL},
	{"group", OPT_IGNORED, 0, NULL},
	{"nogroup", OPT_IGNORED, 0, NULL},
	{"comment", OPT_IGNORED, 0, NULL},
	{"rw", OPT_REFUSED, 0, NULL},
	{"remount", OPT_REFUSED, 0, NULL},
	{"direct_io", OPT_REFUSED, 0, NULL},
};

static int list_add(struct config_list *list, const char *value)
{
	char **items = reallocarray(list->items, list->count + 1, sizeof(*items));

	if (!items)
		return -ENOMEM;
	list->items = items;
	items[list->count] = strdup(value);
	if (!items[list->count])
		return -ENOMEM;
	list->count++;
	return 0;
}

int config_set_string(char **field, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

static const struct option_spec *find_option(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(specs); i++)
		if (strcmp(specs[i].name, name) == 0)
			return &specs[i];
	return NULL;
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

static int apply_option(struct config *c, const char *name, const char *value, struct error *err)
{
	const struct option_spec *spec = find_option(name);
	void *field;

	if (strncmp(name, "x-", 2) == 0 || strncmp(name, "X-", 2) == 0)
		return 0; /* comments for mount(8), systemd and other tools by definition */
	if (!spec) {
		error_hint(err, "sealedfs --help lists the options");
		return error_set(err, -EINVAL, "unknown option: %s", name);
	}
	if (spec->kind == OPT_IGNORED)
		return 0;
	/* mount(8) says rw unless it is told otherwise. */
	if (spec->kind == OPT_REFUSED && c->is_helper && strcmp(name, "rw") == 0)
		return 0;
	if (spec->kind == OPT_REFUSED)
		return refuse_option(name, err);
	if (spec->kind == OPT_FLAG || spec->kind == OPT_KERNEL) {
		if (value)
			return error_set(err, -EINVAL, "option %s takes no value", name);
	} else if (!value || !*value) {
		return error_set(err, -EINVAL, "option %s needs a value: %s=…", name, name);
	}
	field = (char *)c + spec->offset;
	switch (spec->kind) {
	case OPT_FLAG:
		*(bool *)field = true;
		return 0;
	case OPT_STRING:
		return config_set_string(field, value);
	case OPT_LIST:
		return list_add(field, value);
	case OPT_KERNEL:
		return list_add(&c->kernel, name);
	default:
		return spec->parse(c, value, err);
	}
}

/* Copies what is before the next comma that no backslash guards to out; returns what follows. */
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
		if (spec->kind == OPT_FLAG)
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
	if (!spec || spec->kind == OPT_IGNORED || spec->kind == OPT_REFUSED) {
		error_hint(err, "sealedfs.conf(5) lists the keys");
		return error_set(err, -EINVAL, "unknown key: %s", key);
	}
	switch (spec->kind) {
	case OPT_FLAG:
	case OPT_KERNEL:
		return apply_switch(c, spec, value, err);
	case OPT_LIST:
		return apply_items(c, spec, value, err);
	default:
		return apply_option(c, key, value, err);
	}
}
