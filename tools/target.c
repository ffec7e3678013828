/*
 * Operands that name objects. Job: cut "where" from "what". Trusts the command line.
 */
#include "tools/target.h"

#include "crypto/format.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static bool ends_in_seal(const char *text)
{
	size_t n = strlen(text), suffix = strlen(SEAL_SUFFIX);

	return n > suffix && strcmp(text + n - suffix, SEAL_SUFFIX) == 0;
}

static int open_source(struct cli *cli, const char *spec, struct source **ret, struct error *err)
{
	struct aws *aws = NULL;
	int r = 0;

	if (source_spec_is_s3(spec))
		r = cli_aws(cli, &aws, err);
	return r < 0 ? r : source_open(spec, aws, false, ret, err);
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
	*ret = t;
	return 0;
}

int target_open(struct cli *cli, const char *operand, struct target *ret, struct error *err)
{
	struct stat st;
	bool directory =
		!source_spec_is_s3(operand) && stat(operand, &st) == 0 && S_ISDIR(st.st_mode);

	if (ends_in_seal(operand) && !directory)
		return target_open_object(cli, operand, ret, err);
	*ret = (struct target){0};
	return open_source(cli, operand, &ret->source, err);
}

void target_clear(struct target *t)
{
	source_free(t->source);
	free(t->name);
	*t = (struct target){0};
}
