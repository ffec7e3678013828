/*
 * sealctl warm: reads models into the page cache before they are needed. Job: choose what to read,
 * show progress, and explain failures with the daemon's report. Reads through the mount, unless
 * that keeps models in memory itself.
 */
#include "crypto/base/clock.h"
#include "crypto/base/log.h"
#include "crypto/base/memory.h"
#include "crypto/name.h"
#include "tools/common/interrupt.h"
#include "tools/common/output.h"
#include "tools/mount/mount_report.h"
#include "tools/mount/warm.h"
#include "tools/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>

#define PASSES_MORE 2
#define NEARLY 64 /* all but one part in so many */

#define PAUSE_MS 20

/* What is done of one model. */
struct warmed {
	const char *name;
	uint64_t size, resident;
	bool resident_known;
	bool kept; /* in the mount's own memory (option resident) */
	double seconds;
};

/* The daemon's report has more than an errno. */
static int explain(const struct mount_report *mount, const char *name, int code, struct error *err)
{
	_cleanup_(mount_report_clear) struct mount_report m = NO_MOUNT_REPORT;
	const json_t *reason = NULL, *models;

	if (mount_report_read(mount->root.path, &m, NULL) == 0) {
		models = json_object_get(m.report, "models");
		for (size_t i = 0; i < json_array_size(models); i++) {
			const json_t *model = json_array_get(models, i);

			if (strcmp(json_string_value(json_object_get(model, "name")), name) == 0)
				reason = json_object_get(model, "reason");
		}
	}
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

/* Sometimes a few pages are missing after a read although memory is free. */
static bool is_nearly_all(const struct warmed *w)
{
	return w->resident_known && w->resident < w->size &&
	       w->size - w->resident <= w->size / NEARLY;
}

/*
 * Where the mount keeps models in memory, it decrypts this one into it now; we wait. w->kept: done.
 * Else it is to be read as usual: the mount does not, or cannot. -EINTR.
 */
static int ask_for_memory(int fd, struct warmed *w, struct progress *progress)
{
	struct mount_residency r = {.begin = 1};
	uint64_t shown = 0;

	while (ioctl(fd, MOUNT_IOCTL_WARM, &r) == 0 && r.state != MOUNT_NOT_RESIDENT &&
	       r.state != MOUNT_RESIDENT) {
		progress_add(progress, MAX(r.bytes, shown) - shown);
		shown = MAX(r.bytes, shown);
		if (interrupt_check(NULL) < 0)
			return -EINTR;
		monotonic_pause(PAUSE_MS);
		r = (struct mount_residency){0};
	}
	w->kept = r.state == MOUNT_RESIDENT;
	w->resident_known = w->kept;
	w->resident = w->kept ? w->size : 0;
	return 0;
}

static int warm_open(const struct mount_report *m, const json_t *model, struct warmed *w,
		     bool quiet)
{
	struct progress *progress;
	uint64_t started_ms = monotonic_ms();
	int fd = mount_report_open(m, model), r;

	if (fd < 0)
		return fd;
	progress = progress_new(w->name, w->size, quiet);
	r = ask_for_memory(fd, w, progress);
	if (r == 0 && !w->kept)
		r = warm_file(fd, w->size, progress);
	for (unsigned i = 0; r == 0 && !w->kept && i < PASSES_MORE; i++) {
		w->resident_known = resident_bytes_of(fd, w->size, &w->resident) == 0;
		if (!is_nearly_all(w))
			break;
		r = warm_file(fd, w->size, NULL);
	}
	w->seconds = (double)(monotonic_ms() - started_ms) / 1000;
	progress_free(progress);
	if (r == -EINTR) /* the file is in use */
		return r;
	if (!w->kept)
		w->resident_known = resident_bytes_of(fd, w->size, &w->resident) == 0;
	close(fd);
	return r;
}

static void print_text(const struct warmed *w)
{
	char name[NAME_PRINTABLE_SIZE], a[OUTPUT_AMOUNT_SIZE], b[OUTPUT_AMOUNT_SIZE];
	double rate = w->seconds > 0 ? (double)w->size / w->seconds : 0;

	name_printable(w->name, name);
	print_safely(stdout, "%s  %s in %.1f s, %s/s", name, output_amount((double)w->size, a),
		     w->seconds, output_amount(rate, b));
	if (w->kept)
		print_safely(stdout, "; resident");
	if (w->resident_known && w->resident < w->size)
		print_safely(stdout, "; %s of it in the page cache now",
			     output_amount((double)w->resident, a));
	putchar('\n');
	(void)fflush(stdout);
}

static json_t *warmed_json(const struct warmed *w, const struct error *err, int code)
{
	json_t *to = json_pack("{s:o, s:I, s:f}", "name", output_text(w->name), "size_bytes",
			       (json_int_t)w->size, "seconds", w->seconds);

	json_object_set_new(to, "resident", json_boolean(w->kept));
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
	int r = warm_open(m, model, &w, cli->quiet || cli->json);

	if (r < 0 && interrupt_check(NULL) < 0)
		return r;
	if (r < 0)
		r = explain(m, w.name, r, err);
	if (cli->json)
		output_append(list, warmed_json(&w, err, r));
	else if (r == 0 && !cli->quiet)
		print_text(&w);
	return r;
}

static void warn_of_room(const json_t *models)
{
	char a[OUTPUT_AMOUNT_SIZE], b[OUTPUT_AMOUNT_SIZE];
	uint64_t room = memory_available(), want = 0;

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
	_cleanup_(mount_report_clear) struct mount_report m = NO_MOUNT_REPORT;
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
	.help = "Reads each MODEL, or all models of a MOUNT, through the mount,\n"
		"so that the next program that loads them finds them in memory. Unlocks and measures\n"
		"models that are not open yet. Warns if memory is too small for them, and prints how\n"
		"much is in the page cache at the end. The pages are charged to the control group of\n"
		"this process. Where the mount keeps models in memory (option resident), it decrypts\n"
		"them into that instead.",
	.run = run,
};
