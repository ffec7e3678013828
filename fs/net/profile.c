/*
 * Profiles. Job: know where AWS's files are and which section of which file speaks for a profile.
 * Trusts the environment of the process. Must never fail because an optional file is absent or
 * unreadable, and must fail when one that is there cannot be understood.
 */
#include "fs/net/profile.h"

#include "crypto/base/log.h"
#include "fs/net/ini.h"

#include <errno.h>
#include <pwd.h>
#include <string.h>

struct profile {
	char *name;
	char *config_section; /* "default" or "profile NAME" */
	char *services_section;
	struct ini *config;
	struct ini *credentials;
};

void profile_free(struct profile *p)
{
	if (!p)
		return;
	ini_free(p->config);
	ini_free(p->credentials);
	free(p->services_section);
	free(p->config_section);
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

/* The path that variable names, else HOME/.aws/file. NULL: there is none. malloc()ed. */
static char *file_path(const char *variable, const char *file)
{
	const char *given = getenv(variable);
	_cleanup_free_ char *home = NULL;
	char *path = NULL;
	int r;

	if (given && given[0] && strncmp(given, "~/", 2) != 0)
		return strdup(given);
	home = home_directory();
	if (!home)
		return NULL;
	if (given && given[0])
		r = asprintf(&path, "%s%s", home, given + 1);
	else
		r = asprintf(&path, "%s/.aws/%s", home, file);
	return r < 0 ? NULL : path;
}

static int load_file(const char *variable, const char *file, struct ini **ret, struct error *err)
{
	_cleanup_free_ char *path = file_path(variable, file);
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

/* "[profile NAME]"; "[default]" needs no prefix, but one with it wins. malloc()ed. */
static char *config_section(const struct ini *config, const char *name)
{
	char *section = NULL;

	if (asprintf(&section, "profile %s", name) < 0)
		return NULL;
	if (strcmp(name, "default") == 0 && !ini_has_section(config, section)) {
		free(section);
		return strdup(name);
	}
	return section;
}

int profile_load(const char *name, struct profile **ret, struct error *err)
{
	_cleanup_(profile_freep) struct profile *p = calloc(1, sizeof(*p));
	const char *services;
	int r;

	if (!p)
		return error_set(err, -ENOMEM, "out of memory for profile %s", name);
	r = load_file("AWS_CONFIG_FILE", "config", &p->config, err);
	if (r < 0)
		return r;
	r = load_file("AWS_SHARED_CREDENTIALS_FILE", "credentials", &p->credentials, err);
	if (r < 0)
		return r;
	p->name = strdup(name);
	if (p->name)
		p->config_section = config_section(p->config, p->name);
	if (!p->config_section)
		return error_set(err, -ENOMEM, "out of memory for profile %s", name);
	services = profile_get(p, "services");
	if (services && asprintf(&p->services_section, "services %s", services) < 0) {
		p->services_section = NULL;
		return error_set(err, -ENOMEM, "out of memory for profile %s", name);
	}
	*ret = steal_ptr(p);
	return 0;
}

bool profile_exists(const struct profile *p)
{
	return ini_has_section(p->config, p->config_section) ||
	       ini_has_section(p->credentials, p->name);
}

const char *profile_get(const struct profile *p, const char *name)
{
	const char *value = ini_get(p->credentials, p->name, NULL, name);

	return value ? value : ini_get(p->config, p->config_section, NULL, name);
}

const char *profile_get_nested(const struct profile *p, const char *parent, const char *name)
{
	return ini_get(p->config, p->config_section, parent, name);
}

const char *profile_get_service(const struct profile *p, const char *service, const char *name)
{
	return ini_get(p->config, p->services_section, service, name);
}
