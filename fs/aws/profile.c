/*
 * Profiles. Job: find AWS's files, and the section of a file that describes a profile. Trusts the
 * environment of the process. Must never fail because an optional file is absent or unreadable, and
 * must fail if an existing one cannot be parsed.
 */
#include "fs/aws/profile.h"

#include "crypto/base/log.h"
#include "fs/aws/ini.h"
#include "fs/aws/words.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#define NAME_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"

struct profile {
	char *name;
	/* Sections: NULL when there is none. They belong to the files. */
	const char *config_section, *services_section, *session_section;
	struct ini *config;
	struct ini *credentials;
};

void profile_free(struct profile *p)
{
	if (!p)
		return;
	ini_free(p->config);
	ini_free(p->credentials);
	free(p->name);
	free(p);
}

/* The home directory; NULL: unknown. malloc()ed. */
static char *home_directory(void)
{
	const char *home = getenv("HOME");
	struct passwd entry, *found = NULL;
	char buf[4096];

	if (home && home[0])
		return strdup(home);
	if (getpwuid_r(geteuid(), &entry, buf, sizeof(buf), &found) != 0 || !found)
		return NULL;
	return strdup(found->pw_dir);
}

char *profile_path(const char *file)
{
	_cleanup_free_ char *home = home_directory();
	char *path = NULL;

	return home && asprintf(&path, "%s/.aws/%s", home, file) >= 0 ? path : NULL;
}

/* Appends the variable that *at names, "$NAME" or "${NAME}", and moves behind it; false: it is not
 * set, or this is no name. Then the text stays as it is. */
static bool append_variable(FILE *out, const char **at)
{
	bool braces = (*at)[1] == '{';
	const char *name = *at + 1 + braces;
	size_t length = strspn(name, NAME_CHARACTERS);
	_cleanup_free_ char *copy = strndup(name, length);
	const char *value = copy && length > 0 ? getenv(copy) : NULL;

	if (!value || (braces && name[length] != '}'))
		return false;
	fputs(value, out);
	*at = name + length + braces;
	return true;
}

/* Variables and "~/" in the place that a variable names, as the CLI expands them: a unit's
 * Environment= has no shell that did. malloc()ed; NULL: out of memory, or no home. */
static char *expand(const char *given)
{
	_cleanup_free_ char *home = NULL;
	char *path = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&path, &size);

	if (!out)
		return NULL;
	if (strncmp(given, "~/", 2) == 0) {
		home = home_directory();
		fputs(home ? home : "", out);
		given++;
	}
	while (*given)
		if (*given != '$' || !append_variable(out, &given))
			fputc(*given++, out);
	if (fclose(out) == 0)
		return path;
	free(path);
	return NULL;
}

char *profile_file(enum profile_file which)
{
	static const char *const variables[] = {"AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"};
	static const char *const files[] = {"credentials", "config"};
	const char *given = getenv(variables[which]);

	return given && given[0] ? expand(given) : profile_path(files[which]);
}

static int load_file(enum profile_file which, struct ini **ret, struct error *err)
{
	_cleanup_free_ char *path = profile_file(which);
	int r;

	if (!path)
		return 0;
	r = ini_load(path, ret, err);
	if (r == -ENOENT || r == -EACCES) {
		log_debug("%s: %s", path, strerror(-r));
		return 0;
	}
	return r;
}

/* "[kind NAME]", quoted or not; "[default]" needs no kind. */
static bool section_is(const char *section, const char *kind, const char *name)
{
	_cleanup_free_ char **words = NULL;
	size_t count = 0;

	if (strcmp(section, "default") == 0)
		return strcmp(kind, "profile") == 0 && strcmp(name, "default") == 0;
	return words_split(section, &words, &count) == 0 && count == 2 &&
	       strcmp(words[0], kind) == 0 && strcmp(words[1], name) == 0;
}

static const char *find_section(const struct ini *config, const char *kind, const char *name)
{
	const char *found = NULL, *section;

	for (size_t at = 0; name && (section = ini_next_section(config, &at));)
		if (section_is(section, kind, name))
			found = section;
	return found;
}

int profile_load(const char *name, struct profile **ret, struct error *err)
{
	_cleanup_(profile_freep) struct profile *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return error_set(err, -ENOMEM, "out of memory for profile %s", name);
	r = load_file(PROFILE_CONFIG, &p->config, err);
	if (r == 0)
		r = load_file(PROFILE_CREDENTIALS, &p->credentials, err);
	if (r < 0)
		return r;
	p->name = strdup(name);
	if (!p->name)
		return error_set(err, -ENOMEM, "out of memory for profile %s", name);
	p->config_section = find_section(p->config, "profile", name);
	p->services_section = find_section(p->config, "services", profile_get(p, "services"));
	p->session_section = find_section(p->config, "sso-session", profile_get(p, "sso_session"));
	*ret = steal_ptr(p);
	return 0;
}

bool profile_exists(const struct profile *p)
{
	return p->config_section || ini_has_section(p->credentials, p->name);
}

const char *profile_get_from(const struct profile *p, enum profile_file file, const char *name)
{
	return file == PROFILE_CONFIG ? ini_get(p->config, p->config_section, NULL, name)
				      : ini_get(p->credentials, p->name, NULL, name);
}

const char *profile_get(const struct profile *p, const char *name)
{
	const char *value = profile_get_from(p, PROFILE_CREDENTIALS, name);

	return value ? value : profile_get_from(p, PROFILE_CONFIG, name);
}

const char *profile_get_nested(const struct profile *p, const char *parent, const char *name)
{
	const char *value = ini_get(p->credentials, p->name, parent, name);

	return value ? value : ini_get(p->config, p->config_section, parent, name);
}

bool profile_has_services(const struct profile *p)
{
	return p->services_section || !profile_get(p, "services");
}

const char *profile_get_service(const struct profile *p, const char *service, const char *name)
{
	return ini_get(p->config, p->services_section, service, name);
}

bool profile_has_session(const struct profile *p)
{
	return p->session_section != NULL;
}

const char *profile_get_session(const struct profile *p, const char *name)
{
	return ini_get(p->config, p->session_section, NULL, name);
}

bool profile_file_is_others(const struct profile *p, enum profile_file file)
{
	return ini_is_others(file == PROFILE_CONFIG ? p->config : p->credentials);
}

int profile_each_file(const char *name, int (*each)(void *arg, const char *path, struct error *err),
		      void *arg, struct error *err)
{
	static const char *const variables[] = {"AWS_PROFILE", "AWS_DEFAULT_PROFILE"};
	static const char *const settings[] = {"ca_bundle", "web_identity_token_file"};
	_cleanup_(profile_freep) struct profile *p = NULL, *source = NULL;
	int r;

	for (size_t i = 0; !name && i < ARRAY_LEN(variables); i++) {
		const char *value = getenv(variables[i]);

		name = value && *value ? value : NULL;
	}
	r = profile_load(name ? name : "default", &p, err);
	for (unsigned depth = 0; r == 0 && p && depth < PROFILE_CHAIN_MAX; depth++) {
		for (size_t i = 0; r == 0 && i < ARRAY_LEN(settings); i++)
			if (profile_get(p, settings[i]))
				r = each(arg, profile_get(p, settings[i]), err);
		name = profile_get(p, "source_profile");
		if (r == 0 && name)
			r = profile_load(name, &source, err);
		profile_free(p);
		p = steal_ptr(source);
	}
	return r;
}
