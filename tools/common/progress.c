/*
 * The progress line. A thread draws it five times a second; the rate is that of the last few
 * seconds. Must write only to a terminal.
 */
#include "tools/common/progress.h"

#include "crypto/base/clock.h"
#include "crypto/base/printable.h"
#include "tools/common/output.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>

#define DRAW_MS 200
#define BAR_MAX 30

#define WAITING_MIN_S 3 /* shorter silences are not shown */

/* Shared by all lines: one is drawn at a time. */
static struct {
	pthread_mutex_t lock;
	unsigned running;		     /* progress lines, which draw the text themselves */
	char text[NAME_PRINTABLE_SIZE + 32]; /* "": nothing waits */
} waiting = {.lock = PTHREAD_MUTEX_INITIALIZER};

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
	return (double)monotonic_ms() / 1000;
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

/* The bytes of the characters of text that fit; no character is split. */
static int whole_chars(const char *text, int room)
{
	size_t left = strlen(text), taken = 0, n;
	uint32_t c;

	while (left > taken) {
		n = utf8_next((const uint8_t *)text + taken, left - taken, &c);
		if (n == 0 || (int)(taken + n) > room)
			break;
		taken += n;
	}
	return (int)taken;
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
	(void)snprintf(out, size, "%.*s%s%s%s", whole_chars(label, room), label, bar[0] ? "  " : "",
		       bar, rest);
	if (columns > 0 && strlen(out) >= (size_t)columns)
		out[columns - 1] = '\0';
}

/* A wait is shown instead of a progress line. line: of a progress; NULL: there is none. */
static void draw_line(const char *line)
{
	pthread_mutex_lock(&waiting.lock);
	if (waiting.text[0] || line || !waiting.running)
		fprintf(stderr, "\r%s\x1b[K", waiting.text[0] ? waiting.text : line ? line : "");
	fflush(stderr);
	pthread_mutex_unlock(&waiting.lock);
}

void progress_waiting(const char *host, unsigned seconds)
{
	char printable[NAME_PRINTABLE_SIZE];
	bool is_shown;

	name_printable(host, printable);
	pthread_mutex_lock(&waiting.lock);
	is_shown = waiting.text[0] != '\0';
	waiting.text[0] = '\0';
	if (seconds >= WAITING_MIN_S)
		(void)snprintf(waiting.text, sizeof(waiting.text), "waiting for %s, %u s",
			       printable, seconds);
	is_shown |= waiting.text[0] != '\0';
	pthread_mutex_unlock(&waiting.lock);
	if (is_shown)
		draw_line(NULL);
}

static void count_running(int change)
{
	pthread_mutex_lock(&waiting.lock);
	waiting.running += (unsigned)change;
	pthread_mutex_unlock(&waiting.lock);
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
	draw_line(line);
}

static void *run(void *arg)
{
	struct progress *p = arg;
	double started = now_s(), last_at = started, rate = 0;
	uint64_t last_done = 0;

	pthread_mutex_lock(&p->lock);
	while (!p->stop) {
		(void)monotonic_cond_wait(&p->changed, &p->lock, monotonic_ms() + DRAW_MS);
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
	monotonic_cond_init(&p->changed);
	if (pthread_create(&p->thread, NULL, run, p) != 0) {
		free(p);
		return NULL;
	}
	count_running(1);
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
	count_running(-1);
	pthread_cond_destroy(&p->changed);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
