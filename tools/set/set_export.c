/*
 * Sets for other people's verifiers. Job: the set's SHA-256 digests, signed in OMS's form; no
 * payload is read. Trusts the set as far as set_store.c checked it. Must never sign what a writer
 * of the place could have made up.
 */
#include "tools/set/set_export.h"

#include "crypto/base/fileio.h"
#include "crypto/base/log.h"
#include "crypto/sealed_head.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static int failed(const char *path, int code, struct error *err)
{
	return error_set(err, code, "cannot write %s: %s", path, strerror(-code));
}

/* A bundle goes in the place of a file, never of a link or of a device such as /dev/null. */
static int check_place(const char *path, struct error *err)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : failed(path, -errno, err);
	if (S_ISREG(st.st_mode))
		return 0;
	error_hint(err, "name a file that can be replaced");
	return error_set(err, -EINVAL, "cannot write %s: it is not a regular file", path);
}

/* A reader finds the old bundle or the new one. */
static int write_file(const char *path, const char *text, struct error *err)
{
	_cleanup_free_ char *temporary = NULL;
	_cleanup_close_ int fd = -1;
	int r = check_place(path, err);

	if (r < 0)
		return r;
	if (asprintf(&temporary, "%s.XXXXXX", path) < 0)
		return -ENOMEM;
	fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		return failed(path, -errno, err);
	r = file_write(fd, text, strlen(text));
	if (r == 0 && (fchmod(fd, 0644) < 0 || fsync(fd) < 0 || rename(temporary, path) < 0))
		r = -errno;
	if (r == 0)
		return 0;
	(void)unlink(temporary);
	return failed(path, r, err);
}

static void count_left_out(const struct set *set, struct set_export_result *ret)
{
	const struct set_member *m;

	for (size_t i = 0; (m = set_member(set, i)); i++)
		if (oms_ignores_by_default(m->path) && ret->left_out++ == 0)
			ret->first = m->path;
}

static int sign(const struct oms_statement *statement, const struct oms_key *key, char **ret,
		struct error *err)
{
	_cleanup_free_ uint8_t *bytes = NULL, *signature = NULL;
	_cleanup_free_ char *payload = NULL;
	size_t size = 0, signature_size = 0;
	int r = oms_statement_write(statement, &payload);

	if (r == 0)
		r = oms_signed_bytes(payload, strlen(payload), &bytes, &size);
	if (r == 0)
		r = oms_key_sign(key, bytes, size, &signature, &signature_size);
	if (r == 0)
		r = oms_bundle_write(payload, signature, signature_size, oms_key_hint(key), ret);
	return r < 0 ? error_set(err, r, "cannot sign an OMS bundle with %s", oms_key_path(key))
		     : 0;
}

int set_export_oms(const struct set_store *s, const struct oms_key *key, const char *path,
		   struct set_export_result *ret, struct error *err)
{
	_cleanup_(oms_statement_freep) struct oms_statement *statement = NULL;
	_cleanup_free_ char *text = NULL;
	int r;

	if (!s->keys && (!s->access.owners || owner_keys_count(s->access.owners) == 0)) {
		error_hint(err, "give --owner-key, or --key-file or --kms");
		return error_set(err, -EINVAL,
				 "%s was not checked: whoever can write there could have made it",
				 s->label);
	}
	r = oms_describe_set(s->set, &statement, err);
	if (r == 0)
		r = sign(statement, key, &text, err);
	if (r < 0)
		return r;
	assert(statement && text);
	r = write_file(path, text, err);
	*ret = (struct set_export_result){.files = r == 0 ? statement->count : 0};
	if (r == 0)
		count_left_out(s->set, ret);
	return r;
}
