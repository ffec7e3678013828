/*
 * Profile files. Job: find a value by section and name. The text is written by users and read by
 * programs that run as root: sizes and counts are bounded, and a line that is not understood is an
 * error with its number, not a guess. It holds secret keys, so it lives in one buffer that is
 * wiped. Must never put a value into a message.
 */
#include "fs/net/ini.h"

#include "crypto/base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define NULL_DEVICE makedev(1, 3) /* Linux: Documentation/admin-guide/devices.txt */

struct entry {
	const char *section;
	const char *parent; /* NULL at the top level */
	const char *name;   /* NULL: the section itself */
	const char *value;
};

struct ini {
	char *text;
	size_t size;
	struct entry *entries;
	size_t count;
	size_t capacity;
};

struct parser {
	struct ini *ini;
	const char *label;
	unsigned line;
	const char *section;
	const char *parent; /* last top-level name without a value */
	bool has_top;	    /* some top-level name came before in this section */
};

void ini_free(struct ini *ini)
{
	if (!ini)
		return;
	if (ini->text)
		wipe(ini->text, ini->size);
	free(ini->text);
	free(ini->entries);
	free(ini);
}

static int add_entry(struct ini *ini, struct entry entry)
{
	if (ini->count == ini->capacity) {
		size_t capacity = ini->capacity ? 2 * ini->capacity : 32;
		struct entry *bigger;

		if (capacity > INI_ENTRIES_MAX)
			return -E2BIG;
		bigger = realloc(ini->entries, capacity * sizeof(*bigger));
		if (!bigger)
			return -ENOMEM;
		ini->entries = bigger;
		ini->capacity = capacity;
	}
	ini->entries[ini->count++] = entry;
	return 0;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* Trims in place and returns the start. */
static char *trim(char *s)
{
	char *end = s + strlen(s);

	while (end > s && is_blank(end[-1]))
		*--end = '\0';
	while (is_blank(*s))
		s++;
	return s;
}

/* Cuts a comment that follows white space. */
static void cut_comment(char *value)
{
	for (char *p = value; *p; p++) {
		if ((*p == '#' || *p == ';') && p > value && is_blank(p[-1])) {
			*p = '\0';
			return;
		}
	}
}

static int complain(const struct parser *p, struct error *err, const char *what)
{
	return error_set(err, -EPROTO, "%s:%u: %s", p->label, p->line, what);
}

static int parse_section(struct parser *p, char *line, struct error *err)
{
	char *end = strchr(line, ']');
	const char *rest;

	if (!end)
		return complain(p, err, "a section name must end with ']'");
	rest = end + 1;
	while (is_blank(*rest))
		rest++;
	if (*rest && *rest != '#' && *rest != ';')
		return complain(p, err, "something follows the ']' of a section name");
	*end = '\0';
	p->section = trim(line + 1);
	if (!p->section[0])
		return complain(p, err, "a section without a name");
	p->parent = NULL;
	p->has_top = false;
	return add_entry(p->ini, (struct entry){.section = p->section});
}

static int parse_assignment(struct parser *p, char *line, bool indented, struct error *err)
{
	char *equals = strchr(line, '=');
	struct entry entry = {.section = p->section};
	char *value;

	if (!p->section)
		return complain(p, err, "a line before the first [section]");
	if (indented && p->has_top && !p->parent) {
		/* The continuation of a value: no setting that is used here has one. */
		return 0;
	}
	if (!equals)
		return complain(p, err, "neither [section] nor name = value");
	*equals = '\0';
	entry.name = trim(line);
	value = trim(equals + 1);
	if (*value == '#' || *value == ';')
		*value = '\0';
	cut_comment(value);
	entry.value = trim(value);
	if (!entry.name[0])
		return complain(p, err, "a value without a name");
	if (indented && p->parent) {
		entry.parent = p->parent;
	} else {
		p->parent = entry.value[0] ? NULL : entry.name;
		p->has_top = true;
	}
	return add_entry(p->ini, entry);
}

static int parse_line(struct parser *p, char *line, struct error *err)
{
	bool indented = is_blank(line[0]);
	char *start = trim(line);

	if (!*start || *start == '#' || *start == ';')
		return 0;
	if (*start == '[' && !indented)
		return parse_section(p, start, err);
	return parse_assignment(p, start, indented, err);
}

static int parse_lines(struct ini *ini, const char *label, struct error *err)
{
	struct parser p = {.ini = ini, .label = label};
	char *line = ini->text;

	while (*line) {
		char *end = strchr(line, '\n');
		int r;

		p.line++;
		if (end)
			*end = '\0';
		r = parse_line(&p, line, err);
		if (r < 0)
			return error_set(err, r, "%s:%u: %s", label, p.line, strerror(-r));
		if (!end)
			break;
		line = end + 1;
	}
	return 0;
}

static int parse_owned(char *text, size_t size, const char *label, struct ini **ret,
		       struct error *err)
{
	_cleanup_(ini_freep) struct ini *ini = calloc(1, sizeof(*ini));
	int r;

	if (!ini) {
		wipe(text, size);
		free(text);
		return error_set(err, -ENOMEM, "%s: out of memory", label);
	}
	ini->text = text;
	ini->size = size;
	if (memchr(text, '\0', size))
		return error_set(err, -EPROTO, "%s: not a text file", label);
	r = parse_lines(ini, label, err);
	if (r < 0)
		return r;
	*ret = steal_ptr(ini);
	return 0;
}

int ini_parse(const char *text, size_t size, const char *label, struct ini **ret, struct error *err)
{
	char *copy;

	if (size > INI_SIZE_MAX)
		return error_set(err, -E2BIG, "%s: larger than %zu bytes", label, INI_SIZE_MAX);
	copy = malloc(size + 1);
	if (!copy)
		return error_set(err, -ENOMEM, "%s: out of memory", label);
	if (size > 0)
		memcpy(copy, text, size);
	copy[size] = '\0';
	return parse_owned(copy, size, label, ret, err);
}

int ini_load(const char *path, struct ini **ret, struct error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	size_t size = 0;
	struct stat st;
	char *text;

	if (fd < 0) {
		if (errno == ENOENT || errno == EACCES || errno == ENOTDIR)
			return errno == EACCES ? -EACCES : -ENOENT;
		return error_set(err, -errno, "%s: %s", path, strerror(errno));
	}
	if (fstat(fd, &st) < 0)
		return error_set(err, -errno, "%s: %s", path, strerror(errno));
	/* AWS_CONFIG_FILE=/dev/null is how people say "none". */
	if (S_ISCHR(st.st_mode) && st.st_rdev == NULL_DEVICE)
		return -ENOENT;
	if (!S_ISREG(st.st_mode))
		return error_set(err, -EINVAL, "%s: not a regular file", path);
	if (st.st_size > (off_t)INI_SIZE_MAX)
		return error_set(err, -E2BIG, "%s: larger than %zu bytes", path, INI_SIZE_MAX);
	text = malloc(INI_SIZE_MAX + 1);
	if (!text)
		return error_set(err, -ENOMEM, "%s: out of memory", path);
	for (;;) {
		ssize_t n = read(fd, text + size, INI_SIZE_MAX - size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || size == INI_SIZE_MAX)
			break;
		size += (size_t)n;
	}
	text[size] = '\0';
	return parse_owned(text, size, path, ret, err);
}

bool ini_has_section(const struct ini *ini, const char *section)
{
	for (size_t i = 0; ini && i < ini->count; i++)
		if (strcmp(ini->entries[i].section, section) == 0)
			return true;
	return false;
}

const char *ini_get(const struct ini *ini, const char *section, const char *parent,
		    const char *name)
{
	const char *value = NULL;

	for (size_t i = 0; ini && section && i < ini->count; i++) {
		const struct entry *e = &ini->entries[i];

		if (!e->name || strcmp(e->section, section) != 0 || strcasecmp(e->name, name) != 0)
			continue;
		if (parent ? !e->parent || strcasecmp(e->parent, parent) != 0 : e->parent != NULL)
			continue;
		value = e->value;
	}
	return value && value[0] ? value : NULL;
}
