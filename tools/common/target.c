/*
 * Operands that name objects. Job: split the place from the object's name. Trusts the command line.
 */
#include "tools/common/target.h"

#include "crypto/name.h"
#include "fs/aws/endpoint.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static int open_source(struct cli *cli, const char *spec, struct source **ret, struct error *err)
{
	struct aws *aws = NULL;
	int r = 0;

	if (source_spec_is_s3(spec))
		r = cli_aws(cli, &aws, err);
	return r < 0 ? r : source_open(spec, aws, false, ret, err);
}

int target_cannot_read(const char *path, int code, struct error *err)
{
	int r = code == -ENOENT && path[0] ? source_check_spec(path, err) : 0;

	if (r < 0)
		return r;
	if (source_spec_is_s3(path))
		return error_set(err, -EINVAL, "%s: a plaintext is read from a local file", path);
	return error_set(err, code, "cannot read %s: %s", path, strerror(-code));
}

int target_open_object(struct cli *cli, const char *operand, struct target *ret, struct error *err)
{
	const char *slash = strrchr(operand, '/');
	const char *name = slash ? slash + 1 : operand;
	_cleanup_free_ char *where = NULL;
	struct target t = {0};
	int r;

	if (name[0] == '\0' || (source_spec_is_s3(operand) && slash < operand + strlen("s3://b")))
		return error_set(err, -EINVAL, "%s names no object", operand);
	if (!slash)
		where = strdup(".");
	else
		where = strndup(operand, (size_t)MAX(slash - operand, 1));
	t.name = strdup(name);
	r = where && t.name ? open_source(cli, where, &t.source, err) : -ENOMEM;
	if (r < 0) {
		target_clear(&t);
		return r;
	}
	t.operand = operand;
	*ret = t;
	return 0;
}

const char *target_operand_name(const char *operand)
{
	const char *part = operand, *found;

	if (source_spec_is_s3(part)) {
		part += strlen("s3://");
		part += endpoint_bucket_size(part);
	}
	/* Components as a sealed path has them: from behind the last "//", "." or "..". */
	for (found = part; *part;) {
		size_t slashes = strspn(part, "/"), n = strcspn(part + slashes, "/");

		if (slashes > 1)
			found = part;
		part += slashes + n;
		if (n > 0 && n <= 2 && strncmp(part - n, "..", n) == 0)
			found = part;
	}
	return found + strspn(found, "/");
}

const char *target_found_name(const struct target *t, const char *name)
{
	return t->name ? target_operand_name(t->operand) : name;
}

int target_open(struct cli *cli, const char *operand, struct target *ret, struct error *err)
{
	struct stat st;
	bool directory =
		!source_spec_is_s3(operand) && stat(operand, &st) == 0 && S_ISDIR(st.st_mode);

	if (name_is_seal(operand) && !directory)
		return target_open_object(cli, operand, ret, err);
	*ret = (struct target){0};
	return open_source(cli, operand, &ret->source, err);
}

int used_payloads_add(struct used_payloads *u, char *name)
{
	char **more = reallocarray(u->names, u->count + 1, sizeof(*more));

	if (!more) {
		free(name);
		return -ENOMEM;
	}
	u->names = more;
	more[u->count++] = name;
	u->sorted = false;
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

bool used_payloads_has(struct used_payloads *u, const char *name)
{
	if (u->count == 0)
		return false;
	if (!u->sorted)
		qsort(u->names, u->count, sizeof(*u->names), compare_names);
	u->sorted = true;
	return bsearch(&name, u->names, u->count, sizeof(*u->names), compare_names) != NULL;
}

void used_payloads_clear(struct used_payloads *u)
{
	for (size_t i = 0; i < u->count; i++)
		free(u->names[i]);
	free(u->names);
	*u = (struct used_payloads){0};
}

int target_read_head(struct source *source, const struct source_object *object, const char *label,
		     struct seal **ret, struct error *err)
{
	uint8_t head[SEAL_HEAD_MAX];
	size_t size = (size_t)MIN(object->size, (uint64_t)sizeof(head));
	int r = source_read(source, object->name, object->version, 0, size, head, err);

	return r < 0 ? r : seal_parse_head(label, head, size, object->size, ret, err);
}

void target_clear(struct target *t)
{
	source_free(t->source);
	free(t->name);
	*t = (struct target){0};
}
