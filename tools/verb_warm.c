/*
 * sealctl warm: models into the page cache, before somebody waits for them. Job: what to read, how
 * far it is, and what the daemon says where it fails. Reads through the mount, as anybody does.
 */
#include "crypto/base/log.h"
#include "crypto/name.h"
#include "tools/interrupt.h"
#include "tools/mount_report.h"
#include "tools/output.h"
#include "tools/verbs.h"
#include "tools/warm.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

#define PASSES_MORE 2
#define NEARLY 64 /* all but one part in so many */

/* What is done of one model. */
struct warmed {
	const char *name;
	uint64_t size, resident;
	bool resident_known;
	double seconds;
};

static double now_s(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The daemon knows more than an errno. */
static int explain(const char *path, const char *name, int code, struct error *err)
{
	_cleanup_(mount_report_clear) struct mount_report m = {0};
	const json_t *reason = NULL;

	if (mount_report_read(path, &m, NULL) == 0)
		reason = json_object_get(json_array_get(json_object_get(m.report, "models"), 0),
					 "reason");
	if (reason) {
		const char *hint = json_string_value(json_object_get(reason, "hint"));

		if (hint)
			error_hint(err, "%s", hint);
		return error_set(err, mount_report_code(reason), "%s: %s", name,
				 json_string_value(json_object_get(reason, "message")));
	}
	error_hint(err, "the daemon's log says why");
	return error_set(err, code, "%s: %s", name, strerror(-code));
}

/* Now and then a few pages of a read are gone when it is over, with memory to spare. */
static bool is_nearly_all(const struct warmed *w)
{
	return w->resident_known && w->resident < w->size &&
	       w->size - w->resident <= w->size / NEARLY;
}

static int warm_open(const char *path, struct warmed *w, bool quiet)
{
	struct progress *progress;
	double started = now_s();
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), r;

	if (fd < 0)
		return -errno;
	progress = progress_new(w->name, w->size, quiet);
	r = warm_file(fd, w->size, progress);
	for (unsigned i = 0; r == 0 && i < PASSES_MORE; i++) {
		w->resident_known = resident_bytes_of(fd, w->size, &w->resident) == 0;
		if (!is_nearly_all(w))
			break;
		r = warm_file(fd, w->size, NULL);
	}
	w->seconds = now_s() - started;
	progress_free(progress);
	if (r == -EINTR) /* the file is in use */
		return r;
	w->resident_known = resident_bytes_of(fd, w->size, &w->resident) == 0;
	close(fd);
	return r;
}

static void print_text(const struct warmed *w)
{
	char name[NAME_PRINTABLE_SIZE], a[OUTPUT_AMOUNT_SIZE], b[OUTPUT_AMOUNT_SIZE];
	double rate = w->seconds > 0 ? (double)w->size / w->seconds : 0;

	name_printable(w->name, name);
	printf("%s  %s in %.1f s, %s/s", name, output_amount((double)w->size, a), w->seconds,
	       output_amount(rate, b));
	if (w->resident_known && w->resident < w->size)
		printf("; %s of it in the page cache now", output_amount((double)w->resident, a));
	putchar('\n');
	(void)fflush(stdout);
}

static json_t *warmed_json(const struct warmed *w, const struct error *err, int code)
{
	json_t *to = json_pack("{s:o, s:I, s:f}", "name", output_text(w->name), "size_bytes",
			       (json_int_t)w->size, "seconds", w->seconds);

	if (w->resident_known)
		json_object_set_new(to, "resident_bytes", json_integer((json_int_t)w->resident));
	if (code < 0)
		json_object_set_new(to, "error", output_error_json(err, code));
	return to;
}

static int warm_model(const struct cli *cli, const struct mount_report *m, const json_t *model,
		      json_t **list, struct error *err)
{
	struct warmed w = {
		.name = json_string_value(json_object_get(model, "name")),
		.size = (uint64_t)json_integer_value(json_object_get(model, "size_bytes")),
	};
	_cleanup_free_ char *path = NULL;
	int r;

	if (!w.name || asprintf(&path, "%s/%s", m->root, w.name) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	r = warm_open(path, &w, cli->quiet || cli->json);
	if (r < 0 && interrupt_check(NULL) < 0)
		return r;
	if (r < 0)
		r = explain(path, w.name, r, err);
	if (cli->json)
		output_append(list, warmed_json(&w, err, r));
	else if (r == 0 && !cli->quiet)
		print_text(&w);
	return r;
}

static void warn_of_room(const json_t *models)
{
	char a[OUTPUT_AMOUNT_SIZE], b[OUTPUT_AMOUNT_SIZE];
	uint64_t room = warm_room(), want = 0;

	for (size_t i = 0; i < json_array_size(models); i++) {
		const json_t *model = json_array_get(models, i);

		want += (uint64_t)json_integer_value(json_object_get(model, "size_bytes")) -
			(uint64_t)json_integer_value(json_object_get(model, "resident_bytes"));
	}
	if (want > room)
		log_warning("warm: %s to read, but there is memory for %s: what comes later takes "
			    "the place of what came first",
			    output_amount((double)want, a), output_amount((double)room, b));
}

/* One operand. The first failure is kept; the others are logged, and the rest is read. */
static int warm_operand(const struct cli *cli, const char *path, json_t **list, struct error *err)
{
	_cleanup_(mount_report_clear) struct mount_report m = {0};
	const json_t *models;
	int result = mount_report_read(path, &m, err);

	if (result < 0)
		return result;
	mount_report_add_residency(&m);
	models = json_object_get(m.report, "models");
	warn_of_room(models);
	for (size_t i = 0; i < json_array_size(models); i++) {
		struct error one = {0};
		int r = warm_model(cli, &m, json_array_get(models, i), list, &one);

		if (r < 0 && interrupt_check(err) < 0)
			return -EINTR;
		if (r < 0 && result < 0)
			log_error_object(LOG_ERR, &one, r, "warm");
		if (r < 0 && result == 0) {
			result = r;
			*err = one;
		}
	}
	return result;
}

static int run(struct cli *cli, struct error *err)
{
	json_t *list = NULL;
	int result = 0, r = cli_next(cli, err);

	if (r < 0)
		return r;
	if (cli_operands(cli) == 0)
		return cli_usage_error(cli, err, "no MOUNT or MODEL was given");
	list = json_array();
	for (int i = 0; i < cli_operands(cli); i++) {
		struct error one = {0};

		r = warm_operand(cli, cli_operand(cli, i), &list, &one);
		if (r < 0 && result < 0)
			log_error_object(LOG_ERR, &one, r, "warm");
		if (r < 0 && result == 0) {
			result = r;
			*err = one;
		}
		if (interrupt_check(NULL) < 0)
			break;
	}
	if (cli->json && interrupt_check(NULL) == 0) {
		cli->failure_reported = json_array_size(list) > 0;
		if (!cli->failure_reported && result < 0) {
			json_decref(list);
			return result;
		}
		r = output_json(json_pack("{s:o}", "models", list));
		return result < 0 ? result : r;
	}
	json_decref(list);
	return result;
}

const struct verb verb_warm = {
	.name = "warm",
	.summary = "read models of a mount into the page cache",
	.usage = "[OPTIONS] MOUNT|MODEL…",
	.help = "Reads each MODEL, or all models of a mount or of a folder in it, through the mount,\n"
		"so that who loads them next finds them in memory. Unlocks and measures those that\n"
		"nobody has opened. Says when memory will not hold them, and how much is in the page\n"
		"cache at the end. The pages count to the control group of this process.",
	.run = run,
};
