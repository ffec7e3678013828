/*
 * A program that gets a model in memory. Job: a file in memory that nobody can change, and an exec
 * in place of this process, so that signals and the exit code are the program's own. Must never
 * start it before all of the model is there.
 */
#include "tools/cat/cat_child.h"

#include "tools/common/interrupt.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* Linux 6.3 */
#endif

bool cat_child_has_place(char *const *argv)
{
	for (size_t i = 1; argv[0] && argv[i]; i++)
		if (strstr(argv[i], CAT_PLACE))
			return true;
	return false;
}

int cat_child_memory(uint64_t size, int *ret, struct error *err)
{
	const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	_cleanup_close_ int fd = memfd_create("model", flags | MFD_NOEXEC_SEAL);
	int r;

	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("model", flags);
	if (fd < 0)
		return error_set(err, -errno, "cannot make a file in memory: %s", strerror(errno));
	/* Taken at once: later there is only a signal to tell that memory has run out. */
	r = size > 0 ? posix_fallocate(fd, 0, (off_t)size) : 0;
	if (r != 0) {
		error_hint(err, "the whole model must fit into memory");
		return error_set(err, -ENOMEM, "no memory for a model of %llu bytes: %s",
				 (unsigned long long)size, strerror(r));
	}
	*ret = steal_fd(&fd);
	return 0;
}

int cat_child_seal(int fd, struct error *err)
{
	const int seals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;

	if (fcntl(fd, F_ADD_SEALS, seals) == 0)
		return 0;
	return error_set(err, -errno, "cannot seal the memory of the model: %s", strerror(errno));
}

/* arg with path for each CAT_PLACE; malloc()ed. */
static char *fill_in(const char *arg, const char *path)
{
	char *out = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&out, &size);
	const char *place;

	if (!f)
		return NULL;
	for (; (place = strstr(arg, CAT_PLACE)); arg = place + strlen(CAT_PLACE))
		fprintf(f, "%.*s%s", (int)(place - arg), arg, path);
	fputs(arg, f);
	if (fclose(f) != 0) {
		free(out);
		return NULL;
	}
	return out;
}

int cat_child_become(char *const *argv, int fd, struct error *err)
{
	char path[32];
	size_t count = 0;
	char **words;
	int r = 0;

	while (argv[count])
		count++;
	if (count == 0)
		return -EINVAL;
	words = calloc(count + 1, sizeof(*words));
	if (!words)
		return -ENOMEM;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	words[0] = argv[0];
	for (size_t i = 1; r == 0 && i < count; i++) {
		words[i] = fill_in(argv[i], path);
		r = words[i] ? 0 : -ENOMEM;
	}
	if (r == 0 && fcntl(fd, F_SETFD, 0) == 0) {
		interrupt_end();
		(void)execvp(words[0], words);
	}
	r = r < 0 ? r : error_set(err, -errno, "cannot run %s: %s", argv[0], strerror(errno));
	for (size_t i = 1; i < count; i++)
		free(words[i]);
	free(words);
	return r;
}
