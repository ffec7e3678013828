/*
 * Waiting at start. Job: distinguish temporary failures from permanent ones, and report why it
 * waits. Must never repeat a request that was refused: a denial is an answer.
 */
#include "fs/service/startup_wait.h"

#include "crypto/base/clock.h"
#include "crypto/base/log.h"

#include <errno.h>
#include <string.h>

#define DELAY_FIRST_MS 500
#define DELAY_MAX_MS 10000
#define CLOCK_DELAY_MS 500
/* The kernel finds a TPM within seconds of its start. */
#define DEVICE_WAIT_S 10
/* How long one attempt may take beyond the pause before it. */
#define ATTEMPT_MS 180000
/* 2025-01-01, which is before the first release of sealedfs. */
#define CLOCK_NEVER_BEFORE 1735689600

void startup_wait_begin(struct startup_wait *w, struct notify *notify, unsigned wait_s)
{
	uint64_t now = monotonic_ms();

	*w = (struct startup_wait){
		.notify = notify,
		.end_ms = now + (uint64_t)wait_s * 1000,
		.device_end_ms = now + (uint64_t)MIN(wait_s, (unsigned)DEVICE_WAIT_S) * 1000,
		.delay_ms = DELAY_FIRST_MS,
	};
}

bool startup_failure_may_pass(int code)
{
	return code == -ENODEV || error_exit_code(code) == EXIT_CODE_UNREACHABLE;
}

bool startup_clock_is_set(time_t now)
{
	return now >= CLOCK_NEVER_BEFORE;
}

static uint64_t left_ms(uint64_t end_ms)
{
	uint64_t now = monotonic_ms();

	return end_ms > now ? end_ms - now : 0;
}

bool startup_wait_again(struct startup_wait *w, int code, const struct error *err)
{
	uint64_t left = left_ms(code == -ENODEV ? w->device_end_ms : w->end_ms);
	const char *why = error_text(err, code);

	if (!startup_failure_may_pass(code) || left == 0)
		return false;
	if (strcmp(w->last, why) != 0) {
		log_warning("%s; waiting up to %llu s for that to change", why,
			    (unsigned long long)(left + 999) / 1000);
		(void)snprintf(w->last, sizeof(w->last), "%s", why);
	}
	notify_status(w->notify, "Waiting (up to %llu s more): %s",
		      (unsigned long long)(left + 999) / 1000, why);
	notify_extend(w->notify, w->delay_ms + ATTEMPT_MS);
	monotonic_pause((unsigned)MIN((uint64_t)w->delay_ms, left));
	w->delay_ms = MIN(2 * w->delay_ms, (unsigned)DELAY_MAX_MS);
	return true;
}

void startup_wait_for_clock(struct startup_wait *w)
{
	bool logged = false;

	while (!startup_clock_is_set(time(NULL)) && left_ms(w->end_ms) > 0) {
		if (!logged)
			log_warning("the clock is not set: it is before 2025; waiting for it");
		logged = true;
		notify_status(w->notify, "Waiting (up to %llu s more) for the clock to be set",
			      (unsigned long long)left_ms(w->end_ms) / 1000);
		notify_extend(w->notify, CLOCK_DELAY_MS + ATTEMPT_MS);
		monotonic_pause(CLOCK_DELAY_MS);
	}
}
