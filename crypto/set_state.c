/*
 * The file of seen sets. Job: remember versions and what was replaced, and never go back. Trusts
 * the file only if nobody else can change it. Must never record less than before, nor start a new
 * file if an existing one cannot be read.
 */
#include "crypto/set_state.h"

#include "crypto/base/digest.h"
#include "crypto/base/encode.h"
#include "crypto/base/fileio.h"
#include "crypto/base/trust_file.h"
#include "crypto/failure.h"
#include "crypto/sealed_head.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define FIRST_LINE "sealedfs-set-state-v1\n"
#define REPLACED "replaced" /* in the place of a version */
#define LINE_MAX_SIZE (2 * SET_STATE_ID_SIZE + 1 + 20 + 1 + 2 * SET_STATE_DIGEST_SIZE + 1)
#define FILE_MAX_SIZE (sizeof(FIRST_LINE) + (size_t)SET_STATE_SETS_MAX * LINE_MAX_SIZE)

struct state {
	const char *path, *leaf;
	int dir_fd, lock_fd;
	size_t count;
	struct set_seen sets[SET_STATE_SETS_MAX + 1];
};

static int failed(const struct state *s, const char *what, int code, struct error *err)
{
	error_hint(err, "the file of seen sets needs a folder that belongs to this user, or root");
	return error_set(err, code, "set-state=%s: cannot %s: %s", s->path, what, strerror(-code));
}

static int not_a_file(const struct state *s, struct error *err)
{
	error_hint(err, "name a file, which is made if it is missing");
	return error_set(err, -EINVAL, "set-state=%s: it is not a regular file", s->path);
}

/* *ret_fd is -1 if there is no file yet. Whoever could change it could hold the lock, too. */
static int open_file(const struct state *s, int *ret_fd, struct error *err)
{
	int r = trust_file_open(s->path, TRUST_UNCHANGED, ret_fd, err);

	if (r == 0 || r == -ENOENT)
		return 0;
	if (r == -ENXIO) /* a socket */
		return not_a_file(s, err);
	return r == -EINVAL ? r : failed(s, "open it", r, err);
}

/* A file of its own, which other users cannot open: the state itself is replaced, and the folder
 * may be readable. */
static int lock(struct state *s, struct error *err)
{
	const char *slash = strrchr(s->path, '/');
	_cleanup_free_ char *folder = strndup(s->path, slash ? (size_t)(slash - s->path) + 1 : 0);
	char name[NAME_MAX + 1];

	if (!folder)
		return -ENOMEM;
	s->leaf = slash ? slash + 1 : s->path;
	if (snprintf(name, sizeof(name), ".%s.lock", s->leaf) >= (int)sizeof(name))
		return failed(s, "lock it", -ENAMETOOLONG, err);
	s->dir_fd = open(*folder ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir_fd < 0)
		return failed(s, "open its folder", -errno, err);
	s->lock_fd = openat(s->dir_fd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	while (s->lock_fd < 0 || flock(s->lock_fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return failed(s, "lock it", -errno, err);
	return 0;
}

/* "ID VERSION DIGEST", without its line end. */
static bool parse_line(char *line, struct set_seen *ret)
{
	char *version = strchr(line, ' '), *digest = version ? strchr(version + 1, ' ') : NULL;

	if (!digest)
		return false;
	*version++ = *digest++ = '\0';
	ret->version = SET_STATE_REPLACED;
	return hex_decode(line, ret->id, sizeof(ret->id)) == 0 &&
	       (strcmp(version, REPLACED) == 0 ||
		number_parse(version, 10, SET_STATE_REPLACED - 1, &ret->version) == 0) &&
	       hex_decode(digest, ret->digest, sizeof(ret->digest)) == 0;
}

static bool parse(struct state *s, char *text)
{
	char *line = text + strlen(FIRST_LINE);

	if (strncmp(text, FIRST_LINE, strlen(FIRST_LINE)) != 0)
		return false;
	for (char *end; *line; line = end + 1) {
		struct set_seen *one = &s->sets[s->count];

		end = strchr(line, '\n');
		if (!end || s->count == SET_STATE_SETS_MAX)
			return false;
		*end = '\0';
		if (!parse_line(line, one) ||
		    (s->count > 0 && memcmp(one[-1].id, one->id, sizeof(one->id)) >= 0))
			return false;
		s->count++;
	}
	return true;
}

static int read_file(struct state *s, struct error *err)
{
	_cleanup_free_ char *text = calloc(1, FILE_MAX_SIZE + 1);
	_cleanup_close_ int fd = -1;
	struct stat st;
	ssize_t n;
	int r = text ? open_file(s, &fd, err) : -ENOMEM;

	if (r < 0 || fd < 0)
		return r;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return not_a_file(s, err);
	n = file_read(fd, text, FILE_MAX_SIZE + 1);
	if (n < 0)
		return failed(s, "read it", (int)n, err);
	if ((size_t)n <= FILE_MAX_SIZE && strlen(text) == (size_t)n && parse(s, text))
		return 0;
	error_hint(err, "move it away only if you know the versions of your sets by other means");
	return error_set(err, -EPROTO, "set-state=%s: the file is damaged", s->path);
}

static int write_lines(const struct state *s, int fd)
{
	_cleanup_free_ char *text = malloc(FILE_MAX_SIZE);
	size_t used = strlen(FIRST_LINE);

	if (!text)
		return -ENOMEM;
	memcpy(text, FIRST_LINE, used + 1);
	for (size_t i = 0; i < s->count; i++) {
		char id[2 * SET_STATE_ID_SIZE + 1], digest[2 * SET_STATE_DIGEST_SIZE + 1];
		char version[24] = REPLACED;

		hex_encode(s->sets[i].id, SET_STATE_ID_SIZE, id);
		hex_encode(s->sets[i].digest, SET_STATE_DIGEST_SIZE, digest);
		if (s->sets[i].version != SET_STATE_REPLACED)
			(void)snprintf(version, sizeof(version), "%" PRIu64, s->sets[i].version);
		used += (size_t)snprintf(text + used, FILE_MAX_SIZE - used, "%s %s %s\n", id,
					 version, digest);
	}
	return file_write(fd, text, used);
}

/* A writer that died may have left the temporary name; the lock shows that it is unused. */
static int write_file(const struct state *s, struct error *err)
{
	_cleanup_close_ int fd = -1;
	char name[NAME_MAX + 1];
	int r;

	if (snprintf(name, sizeof(name), ".%s.new", s->leaf) >= (int)sizeof(name))
		return failed(s, "write it", -ENAMETOOLONG, err);
	(void)unlinkat(s->dir_fd, name, 0);
	fd = openat(s->dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	r = fd < 0 ? -errno : write_lines(s, fd);
	if (r == 0 && (fsync(fd) < 0 || renameat(s->dir_fd, name, s->dir_fd, s->leaf) < 0 ||
		       fsync(s->dir_fd) < 0))
		r = -errno;
	if (r < 0 && fd >= 0)
		(void)unlinkat(s->dir_fd, name, 0);
	return r < 0 ? failed(s, "write it", r, err) : 0;
}

/* Where the set's line is, or will be. */
static struct set_seen *find(struct state *s, const uint8_t *id, bool *ret_found)
{
	size_t i = 0;

	while (i < s->count && memcmp(s->sets[i].id, id, SET_STATE_ID_SIZE) < 0)
		i++;
	*ret_found = i < s->count && memcmp(s->sets[i].id, id, SET_STATE_ID_SIZE) == 0;
	return &s->sets[i];
}

/* The set's line; a new one is empty. */
static int find_or_add(struct state *s, const uint8_t *id, struct set_seen **ret, struct error *err)
{
	bool known;

	*ret = find(s, id, &known);
	if (known)
		return 0;
	if (s->count == SET_STATE_SETS_MAX)
		return error_set(err, -E2BIG, "set-state=%s: it has %d sets already", s->path,
				 SET_STATE_SETS_MAX);
	memmove(*ret + 1, *ret, (size_t)(&s->sets[s->count++] - *ret) * sizeof(**ret));
	**ret = (struct set_seen){0};
	memcpy((*ret)->id, id, sizeof((*ret)->id));
	return 0;
}

static int refuse(const struct state *s, const struct set_seen *now, const struct set_seen *seen,
		  const char *label, struct error *err)
{
	char next[2 * SET_STATE_DIGEST_SIZE + 1];

	error_hint(err, "have its owner write a newer version; to go back on purpose, "
			"remove its line from the file");
	if (seen->version != SET_STATE_REPLACED)
		return seal_fail(err, SEAL_OLD_SET, label,
				 "it has version %" PRIu64 ", and %s has seen version %" PRIu64,
				 now->version, s->path, seen->version);
	hex_encode(seen->digest, SET_STATE_DIGEST_SIZE, next);
	return seal_fail(err, SEAL_OLD_SET, label,
			 "%s states that its owner replaced it by the set %s", s->path, next);
}

/* 1: it is to be recorded. */
static int judge(struct state *s, const struct set_seen *now, const char *label, struct error *err)
{
	struct set_seen *seen;
	int r = find_or_add(s, now->id, &seen, err);

	if (r < 0)
		return r;
	if (now->version < seen->version)
		return refuse(s, now, seen, label, err);
	if (now->version == seen->version) {
		if (memcmp(now->digest, seen->digest, sizeof(now->digest)) == 0)
			return 0;
		error_hint(err, "one of the two was not written by 'sealctl', or by two owners at "
				"a time: have its owner write a newer version");
		return error_set(err, -EBADMSG,
				 "%s: version %" PRIu64 " has another content than the version "
				 "%" PRIu64 " that %s has seen",
				 label, now->version, seen->version, s->path);
	}
	*seen = *now;
	return 1;
}

static int begin(const char *path, struct state **ret, struct error *err)
{
	struct state *s = *ret = calloc(1, sizeof(*s));
	_cleanup_close_ int fd = -1;
	int r;

	if (!s)
		return -ENOMEM;
	s->path = path;
	s->dir_fd = s->lock_fd = -1;
	r = open_file(s, &fd, err);
	if (r == 0)
		r = lock(s, err);
	return r < 0 ? r : read_file(s, err);
}

static void end(struct state **s)
{
	if (!*s)
		return;
	closep(&(*s)->lock_fd);
	closep(&(*s)->dir_fd);
	free(*s);
}

int set_state_accept(const char *path, const struct set_seen *now, const char *label,
		     struct error *err)
{
	_cleanup_(end) struct state *s = NULL;
	int r = begin(path, &s, err);

	if (r == 0)
		r = judge(s, now, label, err);
	return r == 1 ? write_file(s, err) : r;
}

int set_state_written(const char *path, const struct set_seen *now, const uint8_t *replaced,
		      struct error *err)
{
	_cleanup_(end) struct state *s = NULL;
	struct set_seen *seen;
	int r = begin(path, &s, err);

	if (r == 0)
		r = find_or_add(s, now->id, &seen, err);
	if (r == 0 && seen->version < now->version)
		*seen = *now;
	if (r == 0 && replaced)
		r = find_or_add(s, replaced, &seen, err);
	if (r == 0 && replaced) {
		seen->version = SET_STATE_REPLACED;
		memcpy(seen->digest, now->id, sizeof(seen->digest));
	}
	return r < 0 ? r : write_file(s, err);
}

int set_state_check(const char *path, struct error *err)
{
	_cleanup_(end) struct state *s = NULL;

	return begin(path, &s, err);
}

int set_state_of(const struct set *set, struct set_seen *ret)
{
	*ret = (struct set_seen){.version = set_header(set)->version};
	memcpy(ret->id, set_header(set)->id, sizeof(ret->id));
	return digest_buffer(DIGEST_SHA256, set_head(set)->core, SEAL_CORE_SIZE, ret->digest);
}
