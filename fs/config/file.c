/*
 * The configuration file. Job: split text into keys and values, strictly. Trusts root and the user
 * of the process, and refuses a file that other users can change, because it decides which owner's
 * models are served. Knows no option by name.
 */
#include "fs/config/file.h"

#include "crypto/base/trust_file.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#define CREDENTIAL_PREFIX "credential:"

struct parser {
	const char *label;
	unsigned line;
	const char *keys[CONFIG_FILE_KEYS_MAX]; /* into the text */
	unsigned key_lines[CONFIG_FILE_KEYS_MAX];
	size_t key_count;
	config_file_key *take;
	void *arg;
};

static char *strip(char *s)
{
	char *end = s + strlen(s);

	while (end > s && isspace((unsigned char)end[-1]))
		*--end = '\0';
	while (isspace((unsigned char)*s))
		s++;
	return s;
}

static bool is_key(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");

	return n > 0 && s[n] == '\0';
}

static int remember_key(struct parser *p, const char *key, struct error *err)
{
	for (size_t i = 0; i < p->key_count; i++)
		if (strcmp(p->keys[i], key) == 0)
			return error_set(err, -EINVAL, "%s is already set in line %u", key,
					 p->key_lines[i]);
	if (p->key_count == CONFIG_FILE_KEYS_MAX)
		return error_set(err, -EINVAL, "more than %d keys", CONFIG_FILE_KEYS_MAX);
	p->keys[p->key_count] = key;
	p->key_lines[p->key_count++] = p->line;
	return 0;
}

static int parse_line(struct parser *p, char *line, struct error *err)
{
	char *key = strip(line), *value;
	int r;

	if (!*key || *key == '#' || *key == ';')
		return 0;
	value = strchr(key, '=');
	if (*key == '[')
		return error_set(err, -EINVAL,
				 "sections are not supported; a line is \"key = value\"");
	if (!value)
		return error_set(err, -EINVAL, "not of the form \"key = value\": %.80s", key);
	*value++ = '\0';
	key = strip(key);
	value = strip(value);
	if (!is_key(key))
		return error_set(err, -EINVAL, "not a key: \"%.80s\"", key);
	if (!*value)
		return error_set(err, -EINVAL, "%s has no value", key);
	r = remember_key(p, key, err);
	return r < 0 ? r : p->take(p->arg, key, value, err);
}

int config_file_parse(const char *label, char *text, config_file_key *take, void *arg,
		      struct error *err)
{
	struct parser p = {.label = label, .take = take, .arg = arg};

	while (text) {
		char *line = strsep(&text, "\n");
		int r;

		p.line++;
		r = parse_line(&p, line, err);
		if (r < 0)
			return error_prefix(err, r, "%s:%u", label, p.line);
	}
	return 0;
}

static int check_file(int fd, const char *path, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return error_set(err, -EINVAL, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return error_set(err, -EINVAL, "%s is not a file", path);
	if (st.st_size > (off_t)CONFIG_FILE_SIZE_MAX)
		return error_set(err, -EINVAL, "%s is larger than %zu bytes", path,
				 CONFIG_FILE_SIZE_MAX);
	return 0;
}

int config_file_read(const char *path, config_file_key *take, void *arg, struct error *err)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *text = malloc(CONFIG_FILE_SIZE_MAX + 1);
	size_t size = 0;
	ssize_t n = 1;
	int r;

	if (!text)
		return -ENOMEM;
	r = trust_file_open(path, TRUST_UNCHANGED, &fd, err);
	if (r < 0)
		return error_set(err, -EINVAL, "cannot read the configuration %s: %s", path,
				 strerror(-r));
	r = check_file(fd, path, err);
	if (r < 0)
		return r;
	while (n != 0 && size < CONFIG_FILE_SIZE_MAX) {
		n = read(fd, text + size, CONFIG_FILE_SIZE_MAX - size);
		if (n < 0 && errno != EINTR)
			return error_set(err, -EINVAL, "%s: %s", path, strerror(errno));
		if (n > 0)
			size += (size_t)n;
	}
	text[size] = '\0';
	if (strlen(text) != size)
		return error_set(err, -EINVAL, "%s contains a zero byte", path);
	return config_file_parse(path, text, take, arg, err);
}

int config_file_instance(const char *path, char **ret)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	size_t n = strlen(name), suffix = strlen(CONFIG_FILE_SUFFIX);

	if (n <= suffix || strcmp(name + n - suffix, CONFIG_FILE_SUFFIX) != 0)
		return -EINVAL;
	*ret = strndup(name, n - suffix);
	return *ret ? 0 : -ENOMEM;
}

int config_credential_path(const char *value, char **ret, struct error *err)
{
	size_t n = strlen(CREDENTIAL_PREFIX);
	const char *dir = getenv("CREDENTIALS_DIRECTORY"), *name = value + n;

	if (strncmp(value, CREDENTIAL_PREFIX, n) != 0) {
		*ret = strdup(value);
		return *ret ? 0 : -ENOMEM;
	}
	if (!*name || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return error_set(err, -EINVAL, "%s: not the name of a credential", value);
	if (!dir || *dir != '/') {
		error_hint(err, "the unit needs LoadCredential=%s:/path/of/the/file", name);
		return error_set(err, -EINVAL, "%s: the service manager passed no credentials",
				 value);
	}
	if (asprintf(ret, "%s/%s", dir, name) < 0)
		return -ENOMEM;
	return 0;
}
