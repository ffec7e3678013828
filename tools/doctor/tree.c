/*
 * The files of the machine, or of an image's tree. A link in the tree is followed as the booted
 * image would: it cannot lead out of it. Trusts nothing; changes nothing.
 */
#include "crypto/base/fileio.h"
#include "tools/doctor/doctor.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int doctor_open(const struct doctor *d, const char *path, int flags)
{
	struct open_how how = {
		.flags = (unsigned)(flags | O_CLOEXEC | (flags & O_PATH ? 0 : O_NONBLOCK)),
		.resolve = RESOLVE_IN_ROOT,
	};
	/* Links of /proc, as "self" is one, are links of this machine. */
	long fd = d->live ? openat(d->root, path, (int)how.flags)
			  : syscall(SYS_openat2, d->root, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

ssize_t doctor_read(const struct doctor *d, const char *path, char *out, size_t size)
{
	_cleanup_close_ int fd = doctor_open(d, path, O_RDONLY);
	ssize_t n = fd < 0 ? fd : file_read(fd, out, size - 1);

	out[n > 0 ? n : 0] = '\0';
	return n;
}

int doctor_stat(const struct doctor *d, const char *path, struct stat *ret)
{
	_cleanup_close_ int fd = doctor_open(d, path, O_PATH);

	if (fd < 0)
		return fd;
	return fstat(fd, ret) < 0 ? -errno : 0;
}

bool doctor_exists(const struct doctor *d, const char *path)
{
	struct stat st;

	return doctor_stat(d, path, &st) == 0;
}

void doctor_list(const struct doctor *d, const char *path,
		 void (*each)(void *arg, const char *folder, const char *name), void *arg)
{
	int fd = doctor_open(d, path, O_RDONLY | O_DIRECTORY);
	DIR *folder = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	if (!folder) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((entry = readdir(folder)) != NULL)
		if (entry->d_name[0] != '.')
			each(arg, path, entry->d_name);
	closedir(folder);
}

char *doctor_line(char **text)
{
	char *line = strsep(text, "\n"), *end;

	if (!line)
		return NULL;
	while (isspace((unsigned char)*line))
		line++;
	end = line + strlen(line);
	while (end > line && isspace((unsigned char)end[-1]))
		*--end = '\0';
	return line;
}

/* /etc wins. A masked unit is a link to /dev/null, or an empty file. */
bool doctor_unit(const struct doctor *d, const char *name)
{
	static const char *const folders[] = {"/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib"};
	char path[PATH_MAX], target[PATH_MAX];

	for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
		_cleanup_close_ int fd = -1;
		struct stat st;
		ssize_t n;

		(void)snprintf(path, sizeof(path), "%s/systemd/system/%s", folders[i], name);
		fd = doctor_open(d, path, O_PATH | O_NOFOLLOW);
		if (fd < 0 || fstat(fd, &st) < 0)
			continue;
		n = S_ISLNK(st.st_mode) ? readlinkat(fd, "", target, sizeof(target) - 1) : -1;
		if (n > 0)
			target[n] = '\0';
		return n > 0 ? strcmp(target, "/dev/null") != 0 : st.st_size > 0;
	}
	return false;
}
