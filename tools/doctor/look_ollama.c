/* Findings: an Ollama that does not read the mount, as its unit says it, and its version as it says
 * itself. */
#include "crypto/base/json.h"
#include "fs/config/file.h"
#include "fs/net/http.h"
#include "tools/doctor/doctor.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNIT "ollama.service"
#define GENERATOR "system-generators/sealedfs-generator"
#define DEFAULT_HOST "127.0.0.1:11434"
#define VERSION_MAX_BYTES 4096
#define VERSION_TIMEOUT_MS 5000
/* Before, a file that is named .gguf and is none made it exit. */
#define VERSION_GOOD_MINOR 25

struct unit {
	struct doctor *d;
	char models[PATH_MAX];
	bool no_prune, in_group;
};

/* Environment= may have several assignments, each of them quoted. */
static void take_environment(struct unit *u, char *value)
{
	char *word;

	while ((word = strsep(&value, " \t\"'")) != NULL) {
		if (strncmp(word, "OLLAMA_MODELS=", 14) == 0)
			(void)snprintf(u->models, sizeof(u->models), "%s", word + 14);
		if (strncmp(word, "OLLAMA_NOPRUNE=", 15) == 0)
			u->no_prune = word[15] != '\0' && strcmp(word + 15, "0") != 0 &&
				      strcmp(word + 15, "false") != 0;
	}
}

static void take_file(struct unit *u, const char *path)
{
	char text[16384], *rest = text, *line;

	if (doctor_read(u->d, path, text, sizeof(text)) < 0)
		return;
	while ((line = doctor_line(&rest)) != NULL) {
		if (strncmp(line, "Environment=", 12) == 0)
			take_environment(u, line + 12);
		if (strncmp(line, "SupplementaryGroups=", 20) == 0)
			u->in_group = u->in_group || strstr(line, "sealedfs") != NULL;
		if (strcmp(line, "Group=sealedfs") == 0 || strcmp(line, "User=root") == 0)
			u->in_group = true;
	}
}

static void take_dropin(void *arg, const char *folder, const char *name)
{
	struct unit *u = arg;
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	take_file(u, path);
}

/* In a tree no generator has run: it links this file where a mount at /srv/models is configured. */
static void take_generated(struct unit *u)
{
	static const char *const prefixes[] = {"/usr", "/usr/local"};
	char path[PATH_MAX];

	if (!doctor_exists(u->d, "/etc/sealedfs/models.conf") ||
	    doctor_exists(u->d, "/etc/systemd/system/ollama.service.d/sealedfs.conf"))
		return;
	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
		(void)snprintf(path, sizeof(path), "%s/lib/systemd/" GENERATOR, prefixes[i]);
		if (!doctor_exists(u->d, path))
			continue;
		(void)snprintf(path, sizeof(path), "%s/share/sealedfs/ollama.conf", prefixes[i]);
		take_file(u, path);
	}
}

/* What comes later wins, as with systemd. */
static void read_unit(struct unit *u)
{
	static const char *const folders[] = {"/usr/lib", "/usr/local/lib", "/run", "/etc"};
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
		(void)snprintf(path, sizeof(path), "%s/systemd/system/" UNIT, folders[i]);
		take_file(u, path);
	}
	take_generated(u);
	doctor_list(u->d, "/run/systemd/generator/" UNIT ".d", take_dropin, u);
	for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
		(void)snprintf(path, sizeof(path), "%s/systemd/system/" UNIT ".d", folders[i]);
		doctor_list(u->d, path, take_dropin, u);
	}
}

static void look_unit(struct doctor *d)
{
	struct unit u = {.d = d};
	char wanted[PATH_MAX];

	(void)snprintf(wanted, sizeof(wanted), "%s/ollama",
		       d->from_file ? d->config.mountpoint : "/srv/models");
	read_unit(&u);
	if (strcmp(u.models, wanted) != 0) {
		doctor_find(d, FINDING_OLLAMA_MODELS, UNIT ": OLLAMA_MODELS is %s, not %s",
			    u.models[0] ? u.models : "not set", wanted);
		return;
	}
	if (!u.no_prune)
		doctor_find(d, FINDING_OLLAMA_NOPRUNE, UNIT ": OLLAMA_NOPRUNE is not set");
	if (!u.in_group)
		doctor_find(d, FINDING_OLLAMA_GROUP, UNIT " does not join the group sealedfs");
}

/* "0.33.1" */
static bool read_version(const char *text, unsigned long *ret_major, unsigned long *ret_minor)
{
	char *end;

	*ret_major = strtoul(text, &end, 10);
	if (end == text || *end != '.')
		return false;
	text = end + 1;
	*ret_minor = strtoul(text, &end, 10);
	return end != text;
}

static void look_version(struct doctor *d)
{
	_cleanup_(http_client_freep) struct http_client *client = NULL;
	_cleanup_http_response_ struct http_response resp = {0};
	_cleanup_json_ json_t *answer = NULL;
	const char *host = getenv("OLLAMA_HOST"), *version, *scheme = "";
	struct error e = {0};
	char url[256];
	struct http_request req = {.method = "GET",
				   .url = url,
				   .body_max = VERSION_MAX_BYTES,
				   .total_timeout_ms = VERSION_TIMEOUT_MS};
	unsigned long major, minor;
	int r = http_client_new(&client);

	host = host && *host ? host : DEFAULT_HOST;
	if (!strstr(host, "://"))
		scheme = "http://";
	(void)snprintf(url, sizeof(url), "%s%s/api/version", scheme, host);
	if (r == 0)
		r = http_perform(client, &req, &resp, &e);
	if (r < 0) {
		doctor_skip(d, "Ollama's version: %s", error_text(&e, r));
		return;
	}
	answer = json_object_parse(resp.body, resp.body_size);
	version = answer ? json_text(answer, "version") : NULL;
	if (!version || !read_version(version, &major, &minor)) {
		doctor_skip(d, "Ollama's version: %s has no answer that Ollama gives", url);
		return;
	}
	if (major == 0 && minor < VERSION_GOOD_MINOR)
		doctor_find(d, FINDING_OLLAMA_VERSION, "Ollama at %s has version %s", host,
			    version);
	else
		doctor_note(d, "Ollama at %s has version %s", host, version);
}

void doctor_look_ollama(struct doctor *d)
{
	bool unit = doctor_unit(d, UNIT);

	if (d->has_config && d->config.ollama == OLLAMA_OFF)
		return;
	if (unit)
		look_unit(d);
	if (!d->live)
		doctor_skip(d, "Ollama's version: a tree is not a machine that runs");
	else if (unit || getenv("OLLAMA_HOST"))
		look_version(d);
}
