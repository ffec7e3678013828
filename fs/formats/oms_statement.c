/*
 * The statement in an OMS bundle. Job: the files and their SHA-256, in one canonical form. The
 * caller has checked the signature; what was signed may be malformed all the same. Must never take
 * a digest of another algorithm, or of a part of a file, for the SHA-256 of a file.
 */
#include "fs/formats/oms_internal.h"

#include "crypto/base/encode.h"
#include "crypto/base/printable.h"

#include <string.h>

const char *const oms_default_ignored[OMS_DEFAULT_IGNORED] = {".git", ".gitattributes", ".github",
							      ".gitignore"};

void oms_statement_free(struct oms_statement *s)
{
	if (!s)
		return;
	free(s->files);
	free(s->ignored);
	json_decref(s->json);
	free(s);
}

bool oms_path_is_canonical(const char *path, bool for_ignoring)
{
	for (const char *at = path;; at++) {
		size_t n = strcspn(at, "/");

		if (n == 0 || (n <= 2 && strspn(at, ".") >= n))
			return false;
		at += n;
		if (!*at)
			return !for_ignoring || !strpbrk(path, "*?[");
	}
}

/* path is ignored, or below it. */
static bool is_below(const char *path, const char *ignored)
{
	size_t n = strlen(ignored);

	return strncmp(path, ignored, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

bool oms_ignores_by_default(const char *path)
{
	for (size_t i = 0; i < OMS_DEFAULT_IGNORED; i++)
		if (is_below(path, oms_default_ignored[i]))
			return true;
	return false;
}

bool oms_statement_ignores(const struct oms_statement *s, const char *path)
{
	for (size_t i = 0; i < s->ignored_count; i++)
		if (is_below(path, s->ignored[i]))
			return true;
	return oms_ignores_by_default(path);
}

static int compare_files(const void *a, const void *b)
{
	return strcmp(((const struct oms_file *)a)->path, ((const struct oms_file *)b)->path);
}

const struct oms_file *oms_statement_find(const struct oms_statement *s, const char *path)
{
	struct oms_file key = {.path = path};

	return bsearch(&key, s->files, s->count, sizeof(*s->files), compare_files);
}

int oms_root_digest(const struct oms_file *files, size_t count, char out[2 * SHA256_SIZE + 1])
{
	_cleanup_digest_ struct digest *d = NULL;
	uint8_t root[SHA256_SIZE];
	int r = digest_new(DIGEST_SHA256, &d);

	for (size_t i = 0; r == 0 && i < count; i++)
		r = digest_update(d, files[i].sha256, SHA256_SIZE);
	if (r == 0)
		r = digest_final(d, root);
	if (r == 0)
		hex_encode(root, sizeof(root), out);
	return r;
}

static int check_types(const char *label, const json_t *root, struct error *err)
{
	const char *type = json_text(root, "_type"), *predicate = json_text(root, "predicateType");
	char printable[NAME_PRINTABLE_SIZE];

	name_printable(type, printable);
	if (!type || strcmp(type, OMS_STATEMENT_TYPE) != 0)
		return oms_refuse(label, err, "it states something of type \"%s\"", printable);
	name_printable(predicate, printable);
	if (!predicate || strcmp(predicate, OMS_PREDICATE_TYPE) != 0)
		return oms_refuse(label, err,
				  "its predicate is \"%s\", not " OMS_PREDICATE_TYPE
				  ": it states something else than a model's files",
				  printable);
	return json_is_object(json_object_get(root, "predicate"))
		       ? 0
		       : oms_refuse(label, err, "it has no predicate");
}

/* How the files were hashed must be what a set knows: whole, with SHA-256. */
static int check_method(const char *label, const json_t *how, struct error *err)
{
	const char *method = json_text(how, "method"), *hash = json_text(how, "hash_type");
	char printable[NAME_PRINTABLE_SIZE];

	name_printable(method, printable);
	if (!method || strcmp(method, "files") != 0) {
		error_hint(err, "have it signed with one SHA-256 a file (method \"files\")");
		return oms_refuse(label, err, "its digests are of method \"%s\", not \"files\"",
				  printable);
	}
	name_printable(hash, printable);
	if (!hash || strcmp(hash, "sha256") != 0) {
		error_hint(err, "have it signed with SHA-256; a set has no other digests of OMS");
		return oms_refuse(label, err, "its digests are \"%s\", not \"sha256\"", printable);
	}
	if (json_object_get(how, "shard_size") ||
	    !json_is_boolean(json_object_get(how, "allow_symlinks")))
		return oms_refuse(label, err, "its serialization is malformed");
	return 0;
}

static int take_ignored(struct oms_statement *s, const char *label, const json_t *list,
			struct error *err)
{
	char printable[NAME_PRINTABLE_SIZE];
	size_t count = json_array_size(list);

	if (list && !json_is_array(list))
		return oms_refuse(label, err, "its ignore_paths are no list");
	s->ignored = calloc(count + 1, sizeof(*s->ignored));
	if (!s->ignored)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		const char *path = json_string_value(json_array_get(list, i));

		name_printable(path, printable);
		if (!path || !oms_path_is_canonical(path, true))
			return oms_refuse(label, err,
					  "it ignores \"%s\", which is no path inside a model",
					  printable);
		s->ignored[s->ignored_count++] = path;
	}
	return 0;
}

static int take_file(struct oms_file *file, const char *label, const json_t *resource,
		     struct error *err)
{
	const char *digest = json_text(resource, "digest"),
		   *algorithm = json_text(resource, "algorithm");
	char printable[NAME_PRINTABLE_SIZE];

	file->path = json_text(resource, "name");
	name_printable(file->path, printable);
	if (!file->path || !oms_path_is_canonical(file->path, false))
		return oms_refuse(label, err, "it names \"%s\", which is no path inside a model",
				  printable);
	if (!algorithm || strcmp(algorithm, "sha256") != 0 || !digest ||
	    hex_decode(digest, file->sha256, SHA256_SIZE) < 0)
		return oms_refuse(label, err, "its digest of \"%s\" is no SHA-256", printable);
	return 0;
}

static int take_files(struct oms_statement *s, const char *label, const json_t *list,
		      struct error *err)
{
	size_t count = json_array_size(list);
	int r = 0;

	if (count == 0 || count > OMS_FILES_MAX)
		return oms_refuse(label, err, "it names %zu files", count);
	s->files = calloc(count, sizeof(*s->files));
	if (!s->files)
		return -ENOMEM;
	for (; r == 0 && s->count < count; s->count++)
		r = take_file(&s->files[s->count], label, json_array_get(list, s->count), err);
	return r;
}

/* The digest is over the files in the order of the bundle; signers sort them in two ways. */
static int check_root(struct oms_statement *s, const char *label, const json_t *subjects,
		      struct error *err)
{
	const json_t *subject = json_array_get(subjects, 0);
	const char *stated = json_text(json_object_get(subject, "digest"), "sha256");
	char root[2 * SHA256_SIZE + 1], printable[NAME_PRINTABLE_SIZE];
	int r = oms_root_digest(s->files, s->count, root);

	if (r < 0)
		return r;
	s->name = json_text(subject, "name");
	if (json_array_size(subjects) != 1 || !s->name || !stated)
		return oms_refuse(label, err, "it has not one subject with name and SHA-256");
	if (strcmp(stated, root) != 0)
		return oms_refuse(label, err, "the digest of its subject is not that of its files");
	qsort(s->files, s->count, sizeof(*s->files), compare_files);
	for (size_t i = 1; i < s->count; i++)
		if (strcmp(s->files[i - 1].path, s->files[i].path) == 0) {
			name_printable(s->files[i].path, printable);
			return oms_refuse(label, err, "it names \"%s\" twice", printable);
		}
	return 0;
}

int oms_statement_parse(const char *label, const void *payload, size_t size,
			struct oms_statement **ret, struct error *err)
{
	_cleanup_(oms_statement_freep) struct oms_statement *s = calloc(1, sizeof(*s));
	const json_t *predicate, *how;
	int r;

	if (!s)
		return -ENOMEM;
	s->json = json_object_parse(payload, size);
	if (!s->json)
		return oms_refuse(label, err, "its payload is not one whole JSON object");
	predicate = json_object_get(s->json, "predicate");
	how = json_object_get(predicate, "serialization");
	r = check_types(label, s->json, err);
	if (r == 0)
		r = check_method(label, how, err);
	if (r == 0)
		r = take_ignored(s, label, json_object_get(how, "ignore_paths"), err);
	if (r == 0)
		r = take_files(s, label, json_object_get(predicate, "resources"), err);
	if (r == 0)
		r = check_root(s, label, json_object_get(s->json, "subject"), err);
	if (r == 0)
		*ret = steal_ptr(s);
	return r;
}
