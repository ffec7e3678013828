/*
 * The progress line. A thread draws it five times a second; the rate is that of the last few
 * seconds. Must never write to anything but a terminal.
 */
#include "tools/progress.h"

#include "crypto/name.h"
#include "tools/output.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#define DRAW_MS 200
#define BAR_MAX 30

struct progress {
	char label[NAME_PRINTABLE_SIZE];
	uint64_t total;
	atomic_uint_fast64_t done;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool stop; /* under lock */
};

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void format_left(double seconds, char *out, size_t size)
{
	unsigned long s = (unsigned long)(seconds + 0.5);

	if (s < 60)
		(void)snprintf(out, size, "%lu s left", s);
	else if (s < 3600)
		(void)snprintf(out, size, "%lu:%02lu min left", s / 60, s % 60);
	else
		(void)snprintf(out, size, "%lu:%02lu h left", s / 3600, s / 60 % 60);
}

void progress_format(const char *label, uint64_t done, uint64_t total, double seconds, double rate,
		     int columns, char *out, size_t size)
{
	char amount[OUTPUT_AMOUNT_SIZE], all[OUTPUT_AMOUNT_SIZE], speed[OUTPUT_AMOUNT_SIZE];
	char bar[BAR_MAX + 1] = "", left[32] = "", rest[128];
	int room, filled, width;

	output_amount((double)done, amount);
	output_amount(rate, speed);
	if (total == PROGRESS_TOTAL_UNKNOWN || total == 0) {
		(void)snprintf(rest, sizeof(rest), "  %s  %s/s", amount, speed);
	} else {
		if (rate >= 1 && seconds >= 1)
			format_left((double)(total - MIN(done, total)) / rate, left, sizeof(left));
		(void)snprintf(rest, sizeof(rest), "  %3u %%  %s of %s  %s/s  %s",
			       (unsigned)((double)MIN(done, total) / (double)total * 100), amount,
			       output_amount((double)total, all), speed, left);
	}
	room = columns - 1 - (int)strlen(rest);
	width = total == PROGRESS_TOTAL_UNKNOWN || total == 0 ? 0 : MIN(BAR_MAX, room / 2);
	if (width >= 10) {
		filled = (int)((double)MIN(done, total) / (double)total * width);
		for (int i = 0; i < width; i++)
			bar[i] = i < filled ? '#' : '.';
		bar[width] = '\0';
		room -= width + 2;
	}
	room = MAX(room, 0);
	(void)snprintf(out, size, "%.*s%s%s%s", room, label, bar[0] ? "  " : "", bar, rest);
	if (columns > 0 && strlen(out) >= (size_t)columns)
		out[columns - 1] = '\0';
}

static void draw(struct progress *p, double started, double *last_at, uint64_t *last_done,
		 double *rate)
{
	struct winsize window = {.ws_col = 80};
	double now = now_s();
	uint64_t done = atomic_load(&p->done);
	char line[512];

	if (now - *last_at > 0) {
		double current = (double)(done - *last_done) / (now - *last_at);

		/* A moving average over some three seconds. */
		*rate = now - started < 1 ? (double)done / (now - started)
					  : *rate + (current - *rate) * 0.07;
	}
	*last_at = now;
	*last_done = done;
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &window) < 0 || window.ws_col == 0)
		window.ws_col = 80;
	progress_format(p->label, done, p->total, now - started, *rate, window.ws_col, line,
			sizeof(line));
	fprintf(stderr, "\r%s\x1b[K", line);
	fflush(stderr);
}

static void *run(void *arg)
{
	struct progress *p = arg;
	double started = now_s(), last_at = started, rate = 0;
	uint64_t last_done = 0;

	pthread_mutex_lock(&p->lock);
	while (!p->stop) {
		struct timespec until;

		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += DRAW_MS * 1000000L;
		if (until.tv_nsec >= 1000000000L) {
			until.tv_nsec -= 1000000000L;
			until.tv_sec++;
		}
		(void)pthread_cond_timedwait(&p->changed, &p->lock, &until);
		if (!p->stop)
			draw(p, started, &last_at, &last_done, &rate);
	}
	pthread_mutex_unlock(&p->lock);
	fprintf(stderr, "\r\x1b[K");
	fflush(stderr);
	return NULL;
}

struct progress *progress_new(const char *label, uint64_t total, bool quiet)
{
	struct progress *p;

	if (quiet || !isatty(STDERR_FILENO))
		return NULL;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	name_printable(label, p->label);
	p->total = total;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->changed, NULL);
	if (pthread_create(&p->thread, NULL, run, p) != 0) {
		free(p);
		return NULL;
	}
	return p;
}

void progress_add(struct progress *p, uint64_t bytes)
{
	if (p)
		atomic_fetch_add(&p->done, bytes);
}

void progress_free(struct progress *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_signal(&p->changed);
	pthread_mutex_unlock(&p->lock);
	pthread_join(p->thread, NULL);
	pthread_cond_destroy(&p->changed);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
