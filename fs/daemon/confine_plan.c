/*
 * The files that a daemon of this configuration may access. Job: list them. Trusts the
 * configuration and the environment. Must never list a folder because a file in it might be needed
 * one day.
 */
#include "fs/daemon/confine_plan.h"

#include "attest/nsm.h"
#include "attest/runtime_dir.h"
#include "attest/tpm.h"
#include "fs/aws/profile.h"
#include "fs/service/confine.h"
#include "fs/source/source.h"

#include <limits.h>
#include <string.h>

#define DEVICE_TCTI "device:"
#define LIST_MAX 48

struct list {
	const char *items[LIST_MAX];
	size_t count;
	char *owned[LIST_MAX];
	size_t owned_count;
};

static void list_clear(struct list *l)
{
	for (size_t i = 0; i < l->owned_count; i++)
		free(l->owned[i]);
}

static void add(struct list *l, const char *path)
{
	if (path && *path && l->count < LIST_MAX)
		l->items[l->count++] = path;
}

/* The folder that a file lies in: files there are replaced by others of the same name. */
static void add_folder_of(struct list *l, const char *path)
{
	char *copy = path && *path ? strdup(path) : NULL, *slash = copy ? strrchr(copy, '/') : NULL;

	if (!slash || l->owned_count == LIST_MAX) {
		free(copy);
		return;
	}
	slash[slash == copy] = '\0';
	l->owned[l->owned_count++] = copy;
	add(l, copy);
}

/* Libraries, their configuration, names and certificates; the kernel's tables. */
static void add_system(struct list *l)
{
	static const char *const paths[] = {
		"/usr",
		"/lib",
		"/lib64",
		"/etc",
		"/proc",
		"/sys",
		"/run/systemd",
		"/run/nscd",
		"/dev/urandom",
		"/dev/random",
		"/dev/null",
		"/run/resolvconf",
		"/run/NetworkManager",
	};

	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		add(l, paths[i]);
}

static int add_named(void *arg, const char *path, struct error *err)
{
	add_folder_of(arg, path);
	return 0;
}

/* As fs/aws reads them, repeatedly, because keys expire. */
static int add_aws(const char *profile, struct list *l, struct error *err)
{
	static const char *const variables[] = {
		"AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
		"AWS_CA_BUNDLE",
		"CURL_CA_BUNDLE",
		"SSL_CERT_FILE",
	};
	const char *home = getenv("HOME");
	char *aws = NULL;

	for (int which = PROFILE_CREDENTIALS; which <= PROFILE_CONFIG; which++) {
		_cleanup_free_ char *path = profile_file(which);

		add_folder_of(l, path);
	}
	for (size_t i = 0; i < ARRAY_LEN(variables); i++)
		add_folder_of(l, getenv(variables[i]));
	if (home && l->owned_count < LIST_MAX && asprintf(&aws, "%s/.aws", home) >= 0) {
		l->owned[l->owned_count++] = aws;
		add(l, aws);
	}
	return profile_each_file(profile, add_named, l, err);
}

/* If there is no TPM yet, its node will be made below /dev. */
static void add_tpm(struct list *l, const char *tcti)
{
	if (tcti && strncmp(tcti, DEVICE_TCTI, strlen(DEVICE_TCTI)) == 0)
		add(l, tcti + strlen(DEVICE_TCTI));
	else if (access("/dev/tpmrm0", F_OK) == 0 || access("/dev/tpm0", F_OK) == 0 || tcti)
		add(l, "/dev/tpmrm0"), add(l, "/dev/tpm0");
	else
		add(l, "/dev");
}

static int make_runtime_dir(struct list *l, struct error *err)
{
	char path[PATH_MAX];
	int r;

	if (snprintf(path, sizeof(path), "%s/x", runtime_dir()) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	r = runtime_parent_make(path, err);
	if (r < 0)
		return r;
	add_folder_of(l, path);
	return 0;
}

int confine_by_config(const struct config *c, struct error *err)
{
	_cleanup_(list_clear) struct list read_only = {0}, writable = {0}, devices = {0};
	const char *tcti = c->tcti ? c->tcti : getenv("SEALEDFS_TCTI");
	bool tpm = c->measure != MEASURE_NONE || c->attest != CONFIG_ATTEST_NONE;
	bool slots = !tpm && !tpm_missing(c->tcti);
	int r = tpm ? make_runtime_dir(&writable, err) : 0;

	/* Nothing but a slot may need the TPM; a reload can bring one at any time. */
	if (slots)
		(void)make_runtime_dir(&writable, NULL);
	if (tpm)
		add_folder_of(&writable, c->event_log);

	add_system(&read_only);
	if (r == 0)
		r = add_aws(c->profile, &read_only, err);
	if (r < 0)
		return r;
	add(&read_only, getenv("CREDENTIALS_DIRECTORY"));
	if (!source_spec_is_s3(c->source))
		add(&read_only, c->source);
	add_folder_of(&read_only, c->oms);
	add_folder_of(&read_only, c->tpm_signatures);
	add(&writable, c->stage);
	add_folder_of(&writable, c->set_state);
	add(&devices, "/dev/fuse");
	add(&devices, "/dev/null");
	if (tpm && tpm_is_nsm(c->tcti))
		add(&devices, nsm_path(tpm_choose(c->tcti)));
	else if (tpm || slots)
		add_tpm(&devices, tcti ? tcti : getenv("TPM2TOOLS_TCTI"));
	return confine_daemon(&(struct confine_files){.read_only = read_only.items,
						      .read_only_count = read_only.count,
						      .writable = writable.items,
						      .writable_count = writable.count,
						      .devices = devices.items,
						      .device_count = devices.count,
						      .memory_files = c->resident},
			      err);
}
