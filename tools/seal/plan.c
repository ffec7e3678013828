/*
 * The plan of a sealing. Job: find every file and its name, and refuse what would fail, before the
 * first byte is read. Trusts the command line; does not trust a directory's contents to be
 * harmless: a link in a downloaded tree must not publish a file from outside it.
 */
#include "tools/seal/plan.h"

#include "crypto/base/cleanup.h"
#include "crypto/base/encode.h"
#include "crypto/base/log.h"
#include "crypto/format.h"
#include "crypto/name.h"
#include "fs/aws/endpoint.h"
#include "fs/formats/gguf_name.h"
#include "tools/common/target.h"
#include "tools/seal/checkout.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define DEPTH_MAX 64
/* ".<16 hex>.sealed": object names have no more room than sealed paths. */
#define PAYLOAD_SUFFIX_SIZE (1 + SEAL_PAYLOAD_ID_DIGITS + strlen(SEAL_PAYLOAD_SUFFIX))
#define ENTRIES_MAX ((size_t)100000)

static int check_name(const struct plan *plan, const char *path, const char *name,
		      struct error *err)
{
	const char *problem = model_path_problem(name, strlen(name));
	char printable[NAME_PRINTABLE_SIZE];
	size_t max = plan->name_max ? plan->name_max : SEAL_NAME_MAX;

	if (!problem && strlen(name) > SEAL_PATH_MAX - PAYLOAD_SUFFIX_SIZE)
		problem = "the path is longer than 1000 bytes";
	if (!problem && strlen(name_last_component(name)) > max)
		problem = "the name is too long for a directory";
	if (!problem)
		return 0;
	name_printable(path, printable);
	error_set(err, -EINVAL, "cannot seal \"%s\": %s", printable, problem);
	error_hint(err, "give another name with --name");
	return -EINVAL;
}

/* Sealed objects are not sealed again: mostly a mistake, and the result would confuse. */
static int check_not_sealed(const struct plan *plan, const char *path, const char *name,
			    struct error *err)
{
	char magic[sizeof(SEAL_MAGIC) - 1] = "";
	_cleanup_close_ int fd = -1;

	if (name_is_payload(name))
		return error_set(err, -EINVAL, "%s is already a sealed payload", path);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return error_set(err, -errno, "cannot read %s: %s", path, strerror(errno));
	if (pread(fd, magic, sizeof(magic), 0) == sizeof(magic) &&
	    memcmp(magic, SEAL_MAGIC, sizeof(magic)) == 0)
		return error_set(err, -EINVAL, "%s is already a seal", path);
	if (plan->checkout && checkout_is_pointer(fd)) {
		error_set(err, -EINVAL,
			  "%s is a pointer of git-LFS, not the file itself: what would be sealed "
			  "is not the model",
			  path);
		error_hint(err, "git lfs pull fetches the file");
		return -EINVAL;
	}
	return 0;
}

int plan_add_entry(struct plan *plan, const char *path, const char *name, struct error *err)
{
	struct plan_entry *e;
	int r = check_name(plan, path, name, err);

	if (r < 0)
		return r;
	if (plan->count >= ENTRIES_MAX)
		return error_set(err, -E2BIG, "more than %zu files at once", ENTRIES_MAX);
	if (plan->count == plan->room) {
		size_t room = plan->room ? 2 * plan->room : 16;

		e = reallocarray(plan->entries, room, sizeof(*e));
		if (!e)
			return -ENOMEM;
		plan->entries = e;
		plan->room = room;
	}
	e = &plan->entries[plan->count];
	*e = (struct plan_entry){.path = strdup(path), .name = strdup(name)};
	plan->count++;
	return e->path && e->name ? 0 : -ENOMEM;
}

struct walk {
	struct plan *plan;
	const char *root_real; /* resolved path of the directory given, without trailing '/' */
	const char *blobs;     /* where links may lead, too; or NULL */
	struct error *err;
};

static bool is_inside(const char *real, const char *root)
{
	size_t n = strlen(root);

	return strncmp(real, root, n) == 0 && (real[n] == '/' || (n == 1 && root[0] == '/'));
}

/* A symbolic link in a directory: 1 take it, 0 leave it. */
static int judge_link(const struct walk *w, const char *path, struct stat *st)
{
	_cleanup_free_ char *real = realpath(path, NULL);

	if (!real || stat(real, st) < 0)
		return error_set(w->err, -EINVAL, "%s is a dangling symbolic link", path);
	if (S_ISDIR(st->st_mode)) {
		log_warning("%s is a symbolic link to a directory and is left out", path);
		return 0;
	}
	if (w->plan->follow || is_inside(real, w->root_real) ||
	    (w->blobs && is_inside(real, w->blobs)))
		return 1;
	error_set(w->err, -EINVAL, "%s is a symbolic link that leads out of the directory, to %s",
		  path, real);
	error_hint(w->err, "give --follow to seal that file too");
	return -EINVAL;
}

static int walk(const struct walk *w, const char *folder, const char *prefix, unsigned depth);

static int walk_entry(const struct walk *w, const char *folder, const char *prefix,
		      const char *leaf, unsigned depth)
{
	_cleanup_free_ char *path = NULL, *name = NULL;
	struct stat st;
	int r;

	if (asprintf(&path, "%s/%s", folder, leaf) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	if (asprintf(&name, "%s%s", prefix, leaf) < 0) {
		name = NULL;
		return -ENOMEM;
	}
	if (depth == 0 && w->plan->checkout && checkout_is_own(leaf)) {
		log_notice("%s is left out", path);
		return 0;
	}
	if (lstat(path, &st) < 0)
		return error_set(w->err, -errno, "cannot look at %s: %s", path, strerror(errno));
	if (S_ISLNK(st.st_mode)) {
		r = judge_link(w, path, &st);
		if (r <= 0)
			return r;
	}
	if (S_ISDIR(st.st_mode)) {
		_cleanup_free_ char *below = NULL;

		if (asprintf(&below, "%s/", name) < 0) {
			below = NULL;
			return -ENOMEM;
		}
		return walk(w, path, below, depth + 1);
	}
	if (!S_ISREG(st.st_mode)) {
		log_warning("%s is neither file nor directory and is left out", path);
		return 0;
	}
	r = check_not_sealed(w->plan, path, name, w->err);
	return r < 0 ? r : plan_add_entry(w->plan, path, name, w->err);
}

static int skip_dots(const struct dirent *de)
{
	return strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0;
}

static int compare(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int walk(const struct walk *w, const char *folder, const char *prefix, unsigned depth)
{
	struct dirent **entries = NULL;
	int n, r = 0;

	if (depth > DEPTH_MAX)
		return error_set(w->err, -ELOOP, "%s is more than %d directories deep", folder,
				 DEPTH_MAX);
	n = scandir(folder, &entries, skip_dots, compare);
	if (n < 0)
		return error_set(w->err, -errno, "cannot list %s: %s", folder, strerror(errno));
	for (int i = 0; i < n; i++) {
		if (r == 0)
			r = walk_entry(w, folder, prefix, entries[i]->d_name, depth);
		free(entries[i]);
	}
	free(entries);
	return r;
}

static int add_directory(struct plan *plan, const char *source, struct error *err)
{
	_cleanup_free_ char *real = realpath(source, NULL), *folder = strdup(source);
	_cleanup_free_ char *blobs = real && plan->checkout ? checkout_blobs(real) : NULL;
	struct walk w = {.plan = plan, .root_real = real, .blobs = blobs, .err = err};
	size_t before = plan->count, n = strlen(source);
	int r;

	if (!real || !folder)
		return -errno;
	while (n > 1 && folder[n - 1] == '/')
		folder[--n] = '\0';
	r = walk(&w, folder, "", 0);
	if (r == 0 && plan->count == before)
		return error_set(err, -ENOENT, "there is no file in %s", source);
	return r;
}

int plan_add(struct plan *plan, const char *source, const char *name, struct error *err)
{
	bool standard = strcmp(source, "-") == 0;
	struct stat st;
	int r;

	if (!standard && stat(source, &st) < 0)
		return target_cannot_read(source, -errno, err);
	if (!standard && S_ISDIR(st.st_mode)) {
		if (name)
			return error_set(err, -EINVAL, "--name is for one file; %s is a directory",
					 source);
		return add_directory(plan, source, err);
	}
	if (!name && (standard || !S_ISREG(st.st_mode))) {
		error_set(err, -EINVAL, "%s has no name of its own",
			  standard ? "standard input" : source);
		error_hint(err, "give one with --name");
		return -EINVAL;
	}
	if (!standard && S_ISREG(st.st_mode)) {
		r = check_not_sealed(plan, source, name_last_component(source), err);
		if (r < 0)
			return r;
	}
	return plan_add_entry(plan, source, name ? name : name_last_component(source), err);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted copies of the names' addresses. */
static const char **sort_names(const struct plan *plan)
{
	const char **names = calloc(plan->count + 1, sizeof(*names));

	for (size_t i = 0; names && i < plan->count; i++)
		names[i] = plan->entries[i].name;
	if (names)
		qsort(names, plan->count, sizeof(*names), compare_names);
	return names;
}

static bool has_name(const char *const *names, size_t count, const char *name)
{
	return bsearch(&name, names, count, sizeof(*names), compare_names) != NULL;
}

/* Shards beside this one that are not sealed along with it. */
static unsigned count_missing(const struct plan *plan, const char *const *names,
			      const struct plan_entry *e, unsigned *ret_count)
{
	_cleanup_free_ char *name = strdup(e->name), *path = strdup(e->path);
	struct gguf_shard here, there;
	unsigned missing = 0;

	if (!name || !path || !gguf_parse_shard(e->path, &here) ||
	    !gguf_parse_shard(e->name, &there))
		return 0;
	for (unsigned k = 1; k <= there.count; k++) {
		char digits[8];

		(void)snprintf(digits, sizeof(digits), "%05u", k % 100000);
		memcpy(name + there.number_at, digits, 5);
		memcpy(path + here.number_at, digits, 5);
		missing += !has_name(names, plan->count, name) && access(path, F_OK) == 0;
	}
	*ret_count = there.count;
	return missing;
}

static void warn_missing_shards(const struct plan *plan, const char *const *names)
{
	for (size_t i = 0; i < plan->count; i++) {
		unsigned count, missing = count_missing(plan, names, &plan->entries[i], &count);

		if (missing > 0)
			log_warning("%s is one of %u shards; %u of the others lie beside it and "
				    "are not sealed",
				    plan->entries[i].path, count, missing);
	}
}

int plan_finish(struct plan *plan, struct error *err)
{
	const char **names = sort_names(plan);
	int r = 0;

	if (!names)
		return -ENOMEM;
	for (size_t i = 1; r == 0 && i < plan->count; i++)
		if (strcmp(names[i - 1], names[i]) == 0)
			r = error_set(err, -EINVAL, "two files would both be sealed as \"%s\"",
				      names[i]);
	for (size_t i = 0; r == 0 && i < plan->count; i++) {
		_cleanup_free_ char *above = strdup(names[i]);
		char *slash;

		while (r == 0 && above && (slash = strrchr(above, '/'))) {
			*slash = '\0';
			if (has_name(names, plan->count, above))
				r = error_set(err, -EINVAL,
					      "\"%s\" would be both a file and a directory", above);
		}
	}
	if (r == 0)
		warn_missing_shards(plan, names);
	free(names);
	return r;
}

void plan_clear(struct plan *plan)
{
	for (size_t i = 0; i < plan->count; i++) {
		free(plan->entries[i].path);
		free(plan->entries[i].name);
	}
	free(plan->entries);
	plan->entries = NULL;
	plan->count = plan->room = 0;
}

int plan_check_destination(const char *dest, struct error *err)
{
	const char *prefix = dest, *problem = NULL;
	size_t size;

	if (source_spec_is_s3(dest)) {
		prefix += strlen("s3://");
		prefix += endpoint_bucket_size(prefix);
		prefix += strspn(prefix, "/");
	}
	for (const char *part = dest; *part; part += strspn(part, "/")) {
		size_t n = strcspn(part, "/");

		if (n == strlen(NAME_RESERVED) && strncmp(part, NAME_RESERVED, n) == 0)
			return error_set(err, -EINVAL,
					 "cannot seal to %s: the name " NAME_RESERVED
					 " is reserved for the mount's control directory",
					 dest);
		part += n;
	}
	size = strlen(prefix);
	while (size > 0 && prefix[size - 1] == '/')
		size--;
	if (prefix > dest && size > 0)
		problem = model_path_problem(prefix, size);
	if (!problem)
		return 0;
	error_hint(err, "no mount could show what lies there");
	return error_set(err, -EINVAL, "cannot seal to %s: %s", dest, problem);
}
