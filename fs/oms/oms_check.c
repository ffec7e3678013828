/*
 * Bundles against sets. Job: first the signature, then the statement, then both ways of comparing.
 * Trusts the set as far as its reader checked it. Must never look into a payload whose signature
 * was not checked, nor say that a certificate or a log entry was.
 */
#include "fs/oms/oms_check.h"

#include "crypto/base/fileio.h"
#include "crypto/name.h"

#include <assert.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

/* The store that a mount shows beside the members (fs/view/ollama_store.h). */
#define STORE "ollama"

DEFINE_CLEANUP(X509 *, X509_free)

static int read_file(const char *path, uint8_t **ret, size_t *ret_size, struct error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int r = fd < 0 ? -errno : file_load(fd, OMS_BUNDLE_MAX, ret, ret_size);

	if (r == -EFBIG)
		return error_set(err, r, "%s has more than %zu bytes: no OMS bundle is so large",
				 path, OMS_BUNDLE_MAX);
	if (r == -EINVAL)
		return error_set(err, r, "%s is not a regular file", path);
	return r < 0 ? error_set(err, r, "cannot read the OMS bundle %s: %s", path, strerror(-r))
		     : 0;
}

/* Whom the certificate names, in the words of whoever made it. */
static void certificate_owner(const struct oms_bundle *b, char *out, size_t size)
{
	const unsigned char *p = b->certificate;
	_cleanup_(X509_freep) X509 *x = d2i_X509(NULL, &p, (long)b->certificate_size);
	STACK_OF(OPENSSL_STRING) *emails = x ? X509_get1_email(x) : NULL;
	char subject[256] = "";

	if (x && X509_NAME_entry_count(X509_get_subject_name(x)) > 0)
		X509_NAME_oneline(X509_get_subject_name(x), subject, sizeof(subject));
	else if (emails && sk_OPENSSL_STRING_num(emails) > 0)
		(void)snprintf(subject, sizeof(subject), "%s", sk_OPENSSL_STRING_value(emails, 0));
	if (emails)
		X509_email_free(emails);
	ERR_clear_error();
	(void)snprintf(out, size, "%s", subject[0] ? subject : "?");
}

static void describe_unchecked(const struct oms_bundle *b, char out[OMS_UNCHECKED_SIZE])
{
	char owner[256];
	int n = 0;

	out[0] = '\0';
	if (b->certificate) {
		certificate_owner(b, owner, sizeof(owner));
		n = snprintf(out, OMS_UNCHECKED_SIZE, "%zu certificate%s (%s)", b->certificates,
			     b->certificates == 1 ? "" : "s", owner);
	}
	if (b->log_entries > 0)
		n += snprintf(out + n, OMS_UNCHECKED_SIZE - (size_t)n,
			      "%s%zu transparency-log entr%s", n > 0 ? ", " : "", b->log_entries,
			      b->log_entries == 1 ? "y" : "ies");
	if (b->timestamps > 0)
		(void)snprintf(out + n, OMS_UNCHECKED_SIZE - (size_t)n, "%s%zu timestamp%s",
			       n > 0 ? ", " : "", b->timestamps, b->timestamps == 1 ? "" : "s");
}

/* Only the signature decides: writers make the hint in more than one way. */
static int check_signature(const struct oms_bundle *b, const char *path, const struct oms_key *key,
			   struct error *err)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	char hint[NAME_PRINTABLE_SIZE];
	size_t size = 0;
	int r = oms_signed_bytes(b->payload, b->payload_size, &bytes, &size);

	if (r == 0)
		r = oms_key_verify(key, bytes, size, b->signature, b->signature_size);
	if (r != -EBADMSG)
		return r;
	name_printable(b->hint, hint);
	if (b->hint && strcmp(b->hint, oms_key_hint(key)) != 0)
		return error_set(
			err, r,
			"%s was signed by another key: it names the key \"%s\", and \"%s\" is %s",
			path, hint, oms_key_path(key), oms_key_hint(key));
	return error_set(err, r, "%s: its signature is not one of the key \"%s\" over its payload",
			 path, oms_key_path(key));
}

static int parse(const char *path, const struct oms_key *key, const uint8_t *bytes, size_t size,
		 struct oms_statement **ret, struct oms_summary *summary, struct error *err)
{
	_cleanup_(oms_bundle_freep) struct oms_bundle *b = NULL;
	int r = oms_bundle_parse(path, bytes, size, &b, err);

	if (r == 0)
		r = check_signature(b, path, key, err);
	if (r == 0)
		r = oms_statement_parse(path, b->payload, b->payload_size, ret, err);
	if (r < 0)
		return r;
	assert(*ret);
	*summary = (struct oms_summary){.files = (*ret)->count};
	(void)snprintf(summary->key, sizeof(summary->key), "%s", oms_key_hint(key));
	(void)snprintf(summary->name, sizeof(summary->name), "%s", (*ret)->name);
	describe_unchecked(b, summary->unchecked);
	return digest_buffer(DIGEST_SHA256, bytes, size, summary->sha256);
}

int oms_read(const char *path, const struct oms_key *key, struct allowance *a,
	     struct oms_statement **ret, struct oms_summary *summary, struct error *err)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t size = 0, room;
	int r = read_file(path, &bytes, &size, err);

	if (r < 0)
		return r;
	room = size * OMS_MEMORY_FACTOR;
	r = allowance_take(a, room);
	if (r < 0)
		return allowance_refuse(a, room, err, "the OMS bundle %s", path);
	r = parse(path, key, bytes, size, ret, summary, err);
	allowance_give(a, room);
	return r;
}

struct comparison {
	const char *bundle;
	oms_finding *finding;
	void *arg;
	size_t differences;
};

static void report(struct comparison *c, const char *path, struct error *failure)
{
	c->differences++;
	c->finding(c->arg, path, failure->code, failure);
}

static void compare_file(struct comparison *c, const struct oms_file *file, const struct set *set)
{
	const struct set_member *m = set_find(set, file->path);
	char printable[NAME_PRINTABLE_SIZE];
	struct error failure = {0};

	if (m && memcmp(m->sha256, file->sha256, SHA256_SIZE) == 0)
		return;
	name_printable(file->path, printable);
	if (m)
		error_set(&failure, -EBADMSG,
			  "\"%s\" is not the file that %s signs: its SHA-256 is another", printable,
			  c->bundle);
	else
		error_set(&failure, -EBADMSG,
			  "\"%s\" is missing: %s signs it, and the set has no "
			  "such member",
			  printable, c->bundle);
	report(c, file->path, &failure);
}

static void compare_member(struct comparison *c, const struct oms_statement *s,
			   const struct set_member *m, struct oms_summary *summary)
{
	char printable[NAME_PRINTABLE_SIZE];
	struct error failure = {0};

	if (oms_statement_find(s, m->path))
		return;
	if (oms_statement_ignores(s, m->path) ||
	    memcmp(m->sha256, summary->sha256, SHA256_SIZE) == 0) {
		if (summary->ignored++ == 0)
			(void)snprintf(summary->first_ignored, sizeof(summary->first_ignored), "%s",
				       m->path);
		return;
	}
	name_printable(m->path, printable);
	error_hint(&failure, "remove it from the set, or have its author sign it, too");
	error_set(&failure, -EBADMSG, "\"%s\" is a member of the set that %s does not sign",
		  printable, c->bundle);
	report(c, m->path, &failure);
}

size_t oms_compare(const struct oms_statement *s, const struct set *set, const char *path,
		   struct oms_summary *summary, oms_finding *finding, void *arg)
{
	struct comparison c = {.bundle = path, .finding = finding, .arg = arg};
	const struct set_member *m;

	for (size_t i = 0; i < s->count; i++)
		compare_file(&c, &s->files[i], set);
	for (size_t i = 0; (m = set_member(set, i)); i++)
		compare_member(&c, s, m, summary);
	return c.differences;
}

static void keep_first(void *arg, const char *path, int code, const struct error *failure)
{
	struct error *first = arg;

	if (!first->code)
		*first = *failure;
}

int oms_check_set(const char *path, const struct oms_key *key, const struct set *set,
		  struct allowance *a, struct oms_summary *ret, struct error *err)
{
	_cleanup_(oms_statement_freep) struct oms_statement *s = NULL;
	struct error first = {0};
	size_t count;
	int r = oms_read(path, key, a, &s, ret, err);

	if (r < 0)
		return r;
	assert(s);
	count = oms_compare(s, set, path, ret, keep_first, &first);
	if (count == 0)
		return 0;
	if (first.hint[0])
		error_hint(err, "%s", first.hint);
	if (count == 1)
		return error_set(err, first.code, "%s", first.message);
	return error_set(err, first.code, "%s (and %zu more differ)", first.message, count - 1);
}

/* PATH.ollama beside PATH: a mount shows it in its store only. */
static bool is_description(const struct set *set, const char *path)
{
	size_t size = strlen(path), suffix = strlen(SET_DESCRIPTION_SUFFIX);
	_cleanup_free_ char *described = NULL;

	if (size <= suffix || strcmp(path + size - suffix, SET_DESCRIPTION_SUFFIX) != 0)
		return false;
	described = strndup(path, size - suffix);
	return described && set_find(set, described);
}

/* What is left out must be sayable: entries of ignore_paths have no pattern characters. */
static int leave_out(struct oms_statement *s, const char *path, struct error *err)
{
	char printable[NAME_PRINTABLE_SIZE];

	name_printable(path, printable);
	if (!oms_path_is_canonical(path, true))
		return error_set(
			err, -EINVAL,
			"an OMS bundle cannot leave out \"%s\", which no reader of a mount "
			"sees: the name has one of * ? [",
			printable);
	s->ignored[s->ignored_count++] = path;
	return 0;
}

int oms_describe_set(const struct set *set, struct oms_statement **ret, struct error *err)
{
	_cleanup_(oms_statement_freep) struct oms_statement *s = calloc(1, sizeof(*s));
	size_t count = set_header(set)->member_count;
	const struct set_member *m;
	bool store = true;
	int r = 0;

	if (!s)
		return -ENOMEM;
	s->name = set_header(set)->name;
	s->files = calloc(count, sizeof(*s->files));
	s->ignored = calloc(count + 1, sizeof(*s->ignored));
	if (!s->files || !s->ignored)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && (m = set_member(set, i)); i++) {
		store &= strncmp(m->path, STORE "/", sizeof(STORE)) != 0 &&
			 strcmp(m->path, STORE) != 0;
		if (is_description(set, m->path)) {
			r = leave_out(s, m->path, err);
		} else if (!oms_ignores_by_default(m->path)) {
			s->files[s->count].path = m->path;
			memcpy(s->files[s->count++].sha256, m->sha256, SHA256_SIZE);
		}
	}
	if (r == 0 && store)
		s->ignored[s->ignored_count++] = STORE;
	if (r == 0 && s->count == 0)
		r = error_set(err, -EINVAL, "the set has no member that an OMS bundle would name");
	if (r == 0)
		*ret = steal_ptr(s);
	return r;
}
