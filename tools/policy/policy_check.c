/*
 * sealctl policy --check: the holes of a key policy. Trusts nothing in it: every text is printed
 * safely.
 */
#include "crypto/base/fileio.h"
#include "crypto/base/json.h"
#include "crypto/base/printable.h"
#include "fs/aws/kms_policy.h"
#include "fs/keypolicy/lint.h"
#include "tools/common/output.h"
#include "tools/policy/policy_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

static int read_policy(const char *path, char **ret, size_t *ret_size, struct error *err)
{
	const size_t max = 2 * (size_t)KEYPOLICY_SIZE_MAX + 1; /* one more than is taken */
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *data = malloc(max);
	ssize_t n;

	if (!data)
		return -ENOMEM;
	fd = strcmp(path, "-") == 0 ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)
				    : open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -errno : file_read(fd, data, max);
	if (n < 0)
		return error_set(err, (int)n, "cannot read %s: %s", path, strerror((int)-n));
	*ret = steal_ptr(data);
	*ret_size = (size_t)n;
	return 0;
}

int policy_load(struct cli *cli, const char *what, struct keypolicy **ret, struct error *err)
{
	_cleanup_free_ char *data = NULL;
	size_t size = 0;
	struct aws *aws;
	int r;

	if (strncmp(what, "arn:", 4) == 0) {
		r = cli_aws(cli, &aws, err);
		if (r == 0)
			r = kms_get_key_policy(aws, what, &data, &size, err);
	} else {
		r = read_policy(what, &data, &size, err);
	}
	return r < 0 ? r : keypolicy_parse(data, size, what, ret, err);
}

static json_t *hole_json(const struct keypolicy *p, const struct keypolicy_hole *h)
{
	const char *sid = json_text(keypolicy_statement(p, h->statement), "Sid");

	return json_pack("{s:s, s:i, s:o, s:s, s:s, s:o, s:s?, s:o}", "id",
			 keypolicy_hole_id(h->kind), "statement", (int)h->statement + 1, "sid",
			 sid ? output_text(sid) : json_null(), "text", keypolicy_hole_text(h->kind),
			 "instead", keypolicy_hole_cure(h->kind), "principal",
			 h->who[0] ? output_text(h->who) : json_null(), "action", h->action,
			 "denied_by",
			 h->closed_by < keypolicy_count(p) ? json_integer((int)h->closed_by + 1)
							   : json_null());
}

static void print_hole(const struct keypolicy *p, const struct keypolicy_hole *h)
{
	char label[KEYPOLICY_SID_MAX];

	print_safely(stdout, "  %s: %s\n", keypolicy_label(p, h->statement, label),
		     keypolicy_hole_id(h->kind));
	print_safely(stdout, "    it %s\n", keypolicy_hole_text(h->kind));
	if (h->action)
		print_safely(stdout, "    example: %s by %s\n", h->action, h->who);
	if (h->closed_by < keypolicy_count(p))
		print_safely(stdout, "    only %s stands against it\n",
			     keypolicy_label(p, h->closed_by, label));
	print_safely(stdout, "    instead: %s\n", keypolicy_hole_cure(h->kind));
}

static int report(struct cli *cli, const char *label, const struct keypolicy *p,
		  const struct keypolicy_holes *holes)
{
	json_t *list = cli->json ? json_array() : NULL;

	for (size_t i = 0; i < holes->count; i++) {
		if (cli->json)
			output_append(&list, hole_json(p, &holes->list[i]));
		else
			print_hole(p, &holes->list[i]);
	}
	if (!cli->json && holes->count == 0 && !cli->quiet)
		print_safely(stdout, "%s: no hole found in %zu statements\n", label,
			     keypolicy_count(p));
	if (!cli->json)
		return 0;
	cli->failure_reported = true;
	return output_json(json_pack("{s:o, s:b, s:i, s:b, s:o}", "policy", output_text(label),
				     "ok", holes->count == 0, "statements", (int)keypolicy_count(p),
				     "more", holes->more, "holes", list));
}

int policy_check(struct cli *cli, const struct policy_settings *s, struct error *err)
{
	_cleanup_(keypolicy_freep) struct keypolicy *p = NULL;
	_cleanup_free_ struct keypolicy_holes *holes = calloc(1, sizeof(*holes));
	int r = policy_load(cli, s->check, &p, err);

	if (r == 0)
		r = holes ? keypolicy_lint(p, holes, err) : -ENOMEM;
	if (r == 0)
		r = report(cli, s->check, p, holes);
	if (r < 0 || holes->count == 0)
		return r;
	return error_set(err, -EKEYREJECTED, "%s: %zu hole%s%s", s->check, holes->count,
			 holes->count == 1 ? "" : "s", holes->more ? ", and more" : "");
}
