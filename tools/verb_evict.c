/*
 * sealctl evict: models leave the memory that option resident= of their mount gave them. Job: ask
 * the daemon, and wait until what nobody uses has left.
 */
#include "crypto/base/clock.h"
#include "crypto/name.h"
#include "tools/common/interrupt.h"
#include "tools/common/output.h"
#include "tools/mount/mount_report.h"
#include "tools/verbs.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>

#define PAUSE_MS 20
#define WAIT_MS 60000

static int ask(const struct mount_report *m, struct mount_eviction *e, struct error *err)
{
	*e = (struct mount_eviction){.inode = m->root.ino};
	if (ioctl(m->root.fd, MOUNT_IOCTL_EVICT, e) == 0)
		return 0;
	if (errno == EPERM)
		error_hint(err, "root and the user that the daemon runs as may");
	if (errno == EOPNOTSUPP || errno == ENOTTY)
		return error_set(err, -EINVAL, "%s: it was mounted without option resident",
				 m->root.path);
	return error_set(err, -errno, "%s: models cannot leave memory: %s", m->root.path,
			 strerror(errno));
}

static int evict(const struct mount_report *m, uint64_t *ret_bytes, unsigned *ret_in_use,
		 struct error *err)
{
	uint64_t deadline = monotonic_ms() + WAIT_MS;
	struct mount_eviction e;
	int r = ask(m, &e, err);

	*ret_bytes = e.bytes;
	while (r == 0 && e.leaving > 0) {
		if (interrupt_check(err) < 0)
			return -EINTR;
		if (monotonic_ms() > deadline)
			return error_set(err, -EIO, "%s: %" PRIu32 " models do not leave memory",
					 m->root.path, e.leaving);
		monotonic_pause(PAUSE_MS);
		r = ask(m, &e, err);
	}
	*ret_in_use = e.in_use;
	return r;
}

static void print_text(const char *path, uint64_t bytes, unsigned in_use)
{
	char name[NAME_PRINTABLE_SIZE], amount[OUTPUT_AMOUNT_SIZE];

	name_printable(path, name);
	print_safely(stdout, "%s  %s left memory", name, output_amount((double)bytes, amount));
	if (in_use > 0)
		print_safely(stdout,
			     "; of it %u model%s that leave%s when the last reader closes it",
			     in_use, in_use == 1 ? "" : "s", in_use == 1 ? "s" : "");
	putchar('\n');
}

static int evict_operand(const struct cli *cli, const char *path, json_t **list, struct error *err)
{
	_cleanup_(mount_report_clear) struct mount_report m = NO_MOUNT_REPORT;
	uint64_t bytes = 0;
	unsigned in_use = 0;
	int r = mount_report_read(path, &m, err);

	if (r == 0)
		r = evict(&m, &bytes, &in_use, err);
	if (r < 0)
		return r;
	if (cli->json)
		output_append(list, json_pack("{s:o, s:I, s:i}", "path", output_text(path), "bytes",
					      (json_int_t)bytes, "in_use", (int)in_use));
	else if (!cli->quiet)
		print_text(path, bytes, in_use);
	return 0;
}

static int run(struct cli *cli, struct error *err)
{
	json_t *list = NULL;
	int r = cli_next(cli, err);

	if (r < 0)
		return r;
	if (cli_operands(cli) == 0)
		return cli_usage_error(cli, err, "no MOUNT or MODEL was given");
	list = json_array();
	for (int i = 0; r == 0 && i < cli_operands(cli); i++)
		r = evict_operand(cli, cli_operand(cli, i), &list, err);
	if (r < 0 || !cli->json) {
		json_decref(list);
		return r;
	}
	return output_json(json_pack("{s:o}", "evicted", list));
}

const struct verb verb_evict = {
	.name = "evict",
	.summary = "let models leave the memory of a mount",
	.usage = "[OPTIONS] MOUNT|MODEL…",
	.help = "Lets each MODEL, or all models of a MOUNT, leave the memory that the mount keeps\n"
		"them in (option resident). One that somebody has open leaves when the last reader\n"
		"closes it. For root and the user that the daemon runs as. Pages in the kernel's\n"
		"page cache are not concerned.",
	.run = run,
};
