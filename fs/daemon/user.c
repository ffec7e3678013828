/*
 * The daemon's user. Job: give up what only the start needs. Must never run on as root with a
 * measurement log that other daemons of this machine cannot write to.
 */
#include "attest/runtime_dir.h"
#include "crypto/base/log.h"
#include "fs/daemon/confine_plan.h"
#include "fs/daemon/daemon_internal.h"
#include "fs/service/privileges.h"

#include <pwd.h>
#include <string.h>
#include <sys/stat.h>

#define SERVICE_USER "sealedfs" /* of systemd/sealedfs.sysusers */

/*
 * A mount by fstab may come before systemd-tmpfiles has made the runtime directory. It must belong
 * to the service's user then, not to root, or the daemons of services could not write to it.
 */
static void make_runtime_dir(void)
{
	const struct passwd *pw = getpwnam(SERVICE_USER);
	const char *dir = runtime_dir();

	if (!pw || mkdir(dir, 0755) < 0)
		return;
	if (chmod(dir, 0755) < 0 || chown(dir, pw->pw_uid, pw->pw_gid) < 0)
		(void)rmdir(dir);
}

/* The directory of the measurement log, to be freed; NULL: none. */
static char *log_directory(const struct config *c)
{
	char *dir = strdup(c->event_log ? c->event_log : runtime_dir());
	char *slash = dir && c->event_log ? strrchr(dir, '/') : NULL;

	if (slash)
		slash[slash == dir] = '\0';
	return dir;
}

/*
 * The daemon's user once it has its keys: the option setuid; else the owner of the directory of the
 * measurement log, because all daemons of a machine write to that log and it is not shared between
 * users; without a log the service's user, if it exists. NULL: the user stays.
 */
static const char *daemon_user(const struct config *c)
{
	_cleanup_free_ char *dir = log_directory(c);
	const struct passwd *pw;
	struct stat st;

	if (c->user || geteuid() != 0)
		return c->user;
	if (c->measure == MEASURE_NONE)
		return getpwnam(SERVICE_USER) ? SERVICE_USER : NULL;
	if (!dir)
		return NULL;
	if (strcmp(dir, runtime_dir()) == 0)
		make_runtime_dir();
	if (stat(dir, &st) < 0 || st.st_uid == 0)
		return NULL;
	pw = getpwuid(st.st_uid);
	return pw ? pw->pw_name : NULL;
}

int daemon_drop_privileges(struct daemon *d, struct error *err)
{
	_cleanup_free_ char *user = NULL;
	const char *found = daemon_user(d->config);
	struct privileges keep = {0};
	int r;

	if (found) {
		user = strdup(found);
		if (!user)
			return -ENOMEM;
	}
	r = parts_make_stage_directory(d, user, err);
	/* Without a keeper there may be nothing to drop, and fusermount3 has to work. */
	if (r < 0 || (!d->keeper && !user))
		return r;
	keep.user = user;
	/* Sealed folders and AWS files that only root may read: root's own mounts, which measure
	 * nothing, work as before. Landlock leaves no other files. */
	keep.read_anything =
		geteuid() == 0 && !d->config->user && (!user || d->config->measure == MEASURE_NONE);
	r = privileges_drop(&keep, err);
	/* Without a keeper the set-uid fusermount3 is still to be run. */
	if (r < 0 || !d->keeper)
		return r;
	if (!d->config->unconfined)
		return confine_by_config(d->config, err);
	log_warning("confine=off: system calls and files are not filtered; use it for looking for "
		    "faults only");
	return 0;
}
