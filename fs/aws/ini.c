/*
 * Profile files. Job: find a value by section and name. The text is written by users and read by
 * programs that run as root: sizes and counts are bounded, and a line that is not understood is an
 * error with its number, not a guess. No line is dropped: a setting that is not seen may be the
 * role that was to be used. It holds secret keys, so it lives in one buffer that is wiped. Must
 * never put a value into a message.
 */
#include "fs/aws/ini.h"

#include "crypto/base/fileio.h"
#include "crypto/base/printable.h"
#include "crypto/base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define COMMON_SECTION \
	"DEFAULT" /* of the CLI's parser, Python's configparser: part of every section */
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
	bool others; /* may write the file */
};

struct parser {
	struct ini *ini;
	const char *label;
	unsigned line;
	const char *section;
	size_t indent;	/* of the last section or name */
	bool has_value; /* since the last section there was a name: entries' last */
	char *value_end;
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
			return -EINVAL;
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
	return c == ' ' || c == '\t' || c == '\f' || c == '\v';
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

static int complain(const struct parser *p, struct error *err, const char *what)
{
	return error_set(err, -EINVAL, "%s:%u: %s", p->label, p->line, what);
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
	p->section = line + 1; /* with its blanks: "[ default ]" is not "[default]" */
	p->has_value = false;
	if (!p->section[0])
		return complain(p, err, "a section without a name");
	if (ini_has_section(p->ini, p->section))
		return complain(p, err, "this section was there before");
	return add_entry(p->ini, (struct entry){.section = p->section});
}

/* Cuts "name = value" or "name: value" in two; NULL: it is neither. */
static char *cut(char *line, const char *delimiters)
{
	size_t n = strcspn(line, delimiters);

	if (!line[n])
		return NULL;
	line[n] = '\0';
	return trim(line + n + 1);
}

static bool was_set(const struct ini *ini, const char *section, const char *name)
{
	for (size_t i = 0; i < ini->count; i++) {
		const struct entry *e = &ini->entries[i];

		if (e->name && !e->parent && strcmp(e->section, section) == 0 &&
		    strcasecmp(e->name, name) == 0)
			return true;
	}
	return false;
}

static int parse_assignment(struct parser *p, char *line, struct error *err)
{
	struct entry entry = {.section = p->section};
	char *value;

	if (!p->section)
		return complain(p, err, "a line before the first [section]");
	value = cut(line, "=:");
	if (!value)
		return complain(p, err, "neither [section] nor name = value");
	entry.name = trim(line);
	entry.value = value;
	if (!entry.name[0])
		return complain(p, err, "a value without a name");
	if (was_set(p->ini, p->section, entry.name))
		return complain(p, err, "this name was set before in its section");
	p->has_value = true;
	p->value_end = value + strlen(value);
	return add_entry(p->ini, entry);
}

/*
 * A line that is indented further than the name above it. Without a value beside that name, it is
 * "name = value" of a block; else it continues the value. The text before it has been used, so
 * there is room to put the two together.
 */
static int parse_continuation(struct parser *p, char *line, struct error *err)
{
	const struct entry *above = &p->ini->entries[p->ini->count - 1];
	struct entry entry = {.section = p->section};

	entry.parent = above->parent ? above->parent : above->name;
	if (!above->parent && above->value[0]) {
		size_t size = strlen(line);

		*p->value_end++ = '\n';
		memmove(p->value_end, line, size + 1);
		p->value_end += size;
		return 0;
	}
	entry.value = cut(line, "=");
	if (!entry.value)
		return complain(p, err, "neither name = value nor the end of the block above");
	entry.name = trim(line);
	return add_entry(p->ini, entry);
}

static int parse_line(struct parser *p, char *line, struct error *err)
{
	char *start = trim(line);
	size_t indent = (size_t)(start - line);

	if (!*start || *start == '#' || *start == ';')
		return 0;
	if (p->has_value && indent > p->indent)
		return parse_continuation(p, start, err);
	p->indent = indent;
	if (*start == '[')
		return parse_section(p, start, err);
	return parse_assignment(p, start, err);
}

static int parse_lines(struct ini *ini, const char *label, struct error *err)
{
	struct parser p = {.ini = ini, .label = label};
	char *line = ini->text;

	while (*line) {
		char *end = strpbrk(line, "\r\n");
		int r;

		p.line++;
		if (end && end[0] == '\r' && end[1] == '\n')
			*end++ = '\0';
		if (end)
			*end = '\0';
		r = parse_line(&p, line, err);
		if (r < 0)
			return error_set(err, r, "%s:%u: %s", label, p.line,
					 r == -EINVAL ? "more settings than a profile file has"
						      : strerror(-r));
		if (!end)
			break;
		line = end + 1;
	}
	return 0;
}

int ini_parse(char *text, size_t size, const char *label, struct ini **ret, struct error *err)
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
	if (size > INI_SIZE_MAX)
		return error_set(err, -EINVAL, "%s: larger than %zu bytes", label, INI_SIZE_MAX);
	if (memchr(text, '\0', size) || !utf8_valid(text, size))
		return error_set(err, -EINVAL, "%s: not a text file in UTF-8", label);
	r = parse_lines(ini, label, err);
	if (r < 0)
		return r;
	*ret = steal_ptr(ini);
	return 0;
}

int ini_load(const char *path, struct ini **ret, struct error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	size_t size;
	ssize_t n;
	struct stat st;
	char *text;
	int r;

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
		return error_set(err, -EINVAL, "%s: larger than %zu bytes", path, INI_SIZE_MAX);
	text = malloc(INI_SIZE_MAX + 1);
	if (!text)
		return error_set(err, -ENOMEM, "%s: out of memory", path);
	n = file_read(fd, text, INI_SIZE_MAX);
	if (n < 0) {
		free(text);
		return error_set(err, (int)n, "%s: %s", path, strerror((int)-n));
	}
	size = (size_t)n;
	text[size] = '\0';
	r = ini_parse(text, size, path, ret, err);
	if (r == 0)
		(*ret)->others =
			(st.st_mode & S_IWOTH) || (st.st_uid != 0 && st.st_uid != geteuid());
	return r;
}

bool ini_is_others(const struct ini *ini)
{
	return ini->others;
}

const char *ini_next_section(const struct ini *ini, size_t *at)
{
	while (ini && *at < ini->count) {
		const struct entry *e = &ini->entries[(*at)++];

		if (!e->name)
			return e->section;
	}
	return NULL;
}

bool ini_has_section(const struct ini *ini, const char *section)
{
	for (size_t i = 0; ini && i < ini->count; i++)
		if (strcmp(ini->entries[i].section, section) == 0)
			return strcmp(section, COMMON_SECTION) != 0;
	return false;
}

/* As ini_get(), of this section alone. */
static const char *find(const struct ini *ini, const char *section, const char *parent,
			const char *name)
{
	const char *value = NULL;

	for (size_t i = 0; i < ini->count; i++) {
		const struct entry *e = &ini->entries[i];

		if (!e->name || strcmp(e->section, section) != 0 || strcasecmp(e->name, name) != 0)
			continue;
		if (parent ? !e->parent || strcasecmp(e->parent, parent) != 0 : e->parent != NULL)
			continue;
		value = e->value;
	}
	return value;
}

const char *ini_get(const struct ini *ini, const char *section, const char *parent,
		    const char *name)
{
	const char *value = NULL;

	if (!ini || !section || !ini_has_section(ini, section))
		return NULL;
	/* What the section sets hides what the common one has, also when it sets it to nothing, and
	 * a block as a whole. */
	if (parent ? was_set(ini, section, parent) : was_set(ini, section, name))
		value = find(ini, section, parent, name);
	else
		value = find(ini, COMMON_SECTION, parent, name);
	return value && value[0] ? value : NULL;
}
