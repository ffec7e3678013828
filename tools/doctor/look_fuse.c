/* Findings: FUSE, its limits, who may mount, mounts whose daemon is gone. */
#include "fs/mount/mount_table.h"
#include "tools/doctor/doctor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGES_DEFAULT 256   /* 1 MiB in one read */
#define MOUNTS_DEFAULT 1000 /* fuse.conf, mount_max */

struct fuse_conf {
	bool allow_other;
	unsigned long mount_max;
};

/* Not by root: fusermount3 mounts, and reads /etc/fuse.conf. */
static bool by_user(const struct doctor *d)
{
	return d->has_config && !d->from_file && (geteuid() != 0 || !d->live);
}

static bool kernel_has_fuse(const char *filesystems)
{
	const char *at = strstr(filesystems, "\tfuse\n");

	return at != NULL;
}

static void look_device(struct doctor *d)
{
	char text[4096];
	struct stat st;
	int device = doctor_stat(d, "/dev/fuse", &st);
	ssize_t n = doctor_read(d, "/proc/filesystems", text, sizeof(text));

	if (device == 0 && (st.st_mode & 0006) != 0006)
		doctor_find(d, FINDING_FUSE_ACCESS, "/dev/fuse has mode %04o",
			    (unsigned)st.st_mode & 07777);
	if (n < 0) {
		doctor_skip(d, "whether the kernel has FUSE: there is no /proc");
		return;
	}
	if (!kernel_has_fuse(text))
		doctor_find(d, FINDING_FUSE_MISSING, "the kernel has no FUSE");
	else if (device < 0)
		doctor_find(d, FINDING_FUSE_MISSING, "there is no /dev/fuse");
}

static void read_conf(struct doctor *d, struct fuse_conf *ret)
{
	char text[16384], *rest = text, *line;

	*ret = (struct fuse_conf){.mount_max = MOUNTS_DEFAULT};
	if (doctor_read(d, "/etc/fuse.conf", text, sizeof(text)) < 0)
		return;
	while ((line = doctor_line(&rest)) != NULL) {
		if (strcmp(line, "user_allow_other") == 0)
			ret->allow_other = true;
		if (strncmp(line, "mount_max", 9) == 0 && strchr(line, '='))
			ret->mount_max = strtoul(strchr(line, '=') + 1, NULL, 10);
	}
}

static void look_limits(struct doctor *d, const struct fuse_conf *conf)
{
	char text[32], *mounts = malloc(DOCTOR_FILE_MAX), *rest = mounts, *line;
	unsigned long count = 0;

	/* Kernels before 6.13 have the default, and no file. */
	if (doctor_read(d, "/proc/sys/fs/fuse/max_pages_limit", text, sizeof(text)) > 0 &&
	    strtoul(text, NULL, 10) < PAGES_DEFAULT)
		doctor_find(d, FINDING_FUSE_PAGES, "fs.fuse.max_pages_limit is %lu, not %d",
			    strtoul(text, NULL, 10), PAGES_DEFAULT);
	if (!mounts || doctor_read(d, "/proc/self/mounts", mounts, DOCTOR_FILE_MAX) < 0) {
		free(mounts);
		return;
	}
	/* As fusermount3 counts: those of all users. */
	while ((line = doctor_line(&rest)) != NULL)
		count += strstr(line, " fuse.") != NULL || strstr(line, " fuse ") != NULL;
	free(mounts);
	if (by_user(d) && count >= conf->mount_max)
		doctor_find(d, FINDING_FUSE_MOUNTS,
			    "there are %lu FUSE mounts, and mount_max is %lu", count,
			    conf->mount_max);
}

static void look_user(struct doctor *d, const struct fuse_conf *conf)
{
	struct stat st;

	if (!by_user(d))
		return;
	if ((d->config.allow_other || d->config.allow_root) && !conf->allow_other)
		doctor_find(d, FINDING_ALLOW_OTHER,
			    "%s is asked for, and /etc/fuse.conf does not have user_allow_other",
			    d->config.allow_other ? "allow_other" : "allow_root");
	if (doctor_stat(d, "/usr/bin/fusermount3", &st) < 0)
		doctor_find(d, FINDING_FUSERMOUNT, "there is no /usr/bin/fusermount3");
	else if (!(st.st_mode & S_ISUID))
		doctor_find(d, FINDING_FUSERMOUNT, "/usr/bin/fusermount3 has no set-uid bit");
}

static int look_mount(void *arg, const struct mount_entry *entry)
{
	struct doctor *d = arg;

	if (mount_is_dead(entry->path))
		doctor_find(d, FINDING_STALE_MOUNT, "the daemon of the mount at %s is gone",
			    entry->path);
	return 0;
}

void doctor_look_fuse(struct doctor *d)
{
	struct fuse_conf conf;

	look_device(d);
	read_conf(d, &conf);
	look_limits(d, &conf);
	look_user(d, &conf);
	if (!d->live) {
		doctor_skip(d, "mounts without a daemon: a tree is not a machine that runs");
		return;
	}
	if (mount_table_each("fuse.sealedfs", look_mount, d) < 0)
		doctor_skip(d, "mounts without a daemon: /proc/self/mountinfo cannot be read");
}
