/*
 * Checkouts. Job: recognise what git, git-LFS and Hugging Face's tools leave in a directory. Trusts
 * nothing in it: its statements about its origin are kept only if they have the right form.
 */
#include "tools/seal/checkout.h"

#include "crypto/base/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define REVISION_SIZE 40
#define POINTER_MAX 1024 /* bytes; git-lfs itself takes no longer file for one */

static const char pointer[] = "version https://git-lfs.github.com/spec/v1\n";

bool checkout_is_own(const char *name)
{
	return strcmp(name, ".git") == 0 || strcmp(name, ".cache") == 0;
}

bool checkout_is_pointer(int fd)
{
	char text[POINTER_MAX + 1];
	ssize_t n = pread(fd, text, sizeof(text), 0);

	return n >= (ssize_t)strlen(pointer) && n <= POINTER_MAX &&
	       memcmp(text, pointer, strlen(pointer)) == 0;
}

static bool is_revision(const char *text)
{
	return strspn(text, "0123456789abcdef") == REVISION_SIZE;
}

/* "…/models--ORG--NAME/snapshots/REVISION"; returns where "models--" begins. */
static const char *find_snapshot(const char *real)
{
	const char *revision = strrchr(real, '/'), *models;
	size_t before;

	if (!revision || !is_revision(revision + 1) || revision[1 + REVISION_SIZE])
		return NULL;
	before = (size_t)(revision - real);
	if (before < strlen("/snapshots") ||
	    strncmp(revision - strlen("/snapshots"), "/snapshots", strlen("/snapshots")) != 0)
		return NULL;
	models = revision - strlen("/snapshots");
	while (models > real && models[-1] != '/')
		models--;
	return strncmp(models, "models--", strlen("models--")) == 0 ? models : NULL;
}

char *checkout_blobs(const char *real)
{
	const char *models = find_snapshot(real);
	char *blobs = NULL;

	if (!models || asprintf(&blobs, "%.*s/blobs",
				(int)(models - real + (ptrdiff_t)strcspn(models, "/")), real) < 0)
		return NULL;
	return blobs;
}

/* The first line of a file, without its end; "": there is none. */
static void read_line(const char *folder, const char *name, char *out, size_t size)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int fd = -1;
	ssize_t n = 0;

	if (asprintf(&path, "%s/%s", folder, name) < 0)
		path = NULL;
	if (path)
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW);
	if (fd >= 0)
		n = read(fd, out, size - 1);
	out[n > 0 ? n : 0] = '\0';
	out[strcspn(out, "\r\n")] = '\0';
}

/* git's current commit, if it is in a separate file. */
static void git_revision(const char *folder, char out[256])
{
	_cleanup_free_ char *name = NULL;

	read_line(folder, ".git/HEAD", out, 256);
	if (strncmp(out, "ref: refs/", strlen("ref: refs/")) != 0 || strstr(out, ".."))
		return;
	if (asprintf(&name, ".git/%s", out + strlen("ref: ")) < 0) {
		name = NULL;
		out[0] = '\0';
		return;
	}
	read_line(folder, name, out, 256);
}

/* What `hf download --local-dir` notes for each file; they must agree. */
static void downloaded_revision(const char *folder, char out[256])
{
	_cleanup_free_ char *where = NULL;
	_cleanup_closedir_ DIR *dir = NULL;
	const struct dirent *de;

	out[0] = '\0';
	if (asprintf(&where, "%s/.cache/huggingface/download", folder) < 0) {
		where = NULL;
		return;
	}
	dir = opendir(where);
	while (dir && (de = readdir(dir))) {
		size_t n = strlen(de->d_name), end = strlen(".metadata");
		char line[256];

		if (n <= end || strcmp(de->d_name + n - end, ".metadata") != 0)
			continue;
		read_line(where, de->d_name, line, sizeof(line));
		if (out[0] && strcmp(out, line) != 0) {
			out[0] = '\0';
			return;
		}
		memcpy(out, line, sizeof(line));
	}
}

/* "ORG--NAME" as "ORG/NAME". */
static void repository(const char *models, char out[256])
{
	const char *name = models + strlen("models--");
	char *dashes;

	(void)snprintf(out, 256, "%.*s", (int)strcspn(name, "/"), name);
	dashes = strstr(out, "--");
	if (!dashes)
		return;
	*dashes = '/';
	memmove(dashes + 1, dashes + 2, strlen(dashes + 2) + 1);
}

int checkout_facts(const char *directory, struct facts *ret)
{
	_cleanup_free_ char *real = realpath(directory, NULL);
	const char *models = real ? find_snapshot(real) : NULL;
	char text[256];

	*ret = (struct facts){0};
	if (!real)
		return errno == ENOMEM ? -ENOMEM : 0;
	if (models) {
		repository(models, text);
		(void)facts_add(ret, FACT_ORIGIN_REPOSITORY, text);
		(void)snprintf(text, sizeof(text), "%s", strrchr(real, '/') + 1);
	} else {
		git_revision(real, text);
		if (!is_revision(text))
			downloaded_revision(real, text);
	}
	if (is_revision(text) && !text[REVISION_SIZE])
		(void)facts_add(ret, FACT_ORIGIN_REVISION, text);
	return 0;
}
