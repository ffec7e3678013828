/*
 * Waiting at start. Job: tell what passes from what does not, and never wait in silence. Must never
 * ask again what was refused: a denial is an answer.
 */
#include "fs/patience.h"

#include "crypto/base/log.h"
#include "fs/read/monotonic.h"

#include <errno.h>
#include <string.h>

#define DELAY_FIRST_MS 500
#define DELAY_MAX_MS 10000
#define CLOCK_DELAY_MS 500
/* A TPM that is there appears within seconds of the kernel's start. */
#define DEVICE_WAIT_S 10
/* How long one attempt may take beyond the pause before it. */
#define ATTEMPT_MS 180000
/* 2025-01-01: sealedfs is younger than that. */
#define CLOCK_NEVER_BEFORE 1735689600

void patience_start(struct patience *p, struct notify *notify, struct status *status,
		    unsigned wait_s)
{
	uint64_t now = monotonic_ms();

	*p = (struct patience){
		.notify = notify,
		.status = status,
		.end_ms = now + (uint64_t)wait_s * 1000,
		.device_end_ms = now + (uint64_t)MIN(wait_s, (unsigned)DEVICE_WAIT_S) * 1000,
		.delay_ms = DELAY_FIRST_MS,
	};
}

bool patience_is_due(int code)
{
	return code == -ENODEV || error_exit_code(code) == EXIT_CODE_UNREACHABLE;
}

bool patience_clock_is_set(time_t now)
{
	return now >= CLOCK_NEVER_BEFORE;
}

static void pause_ms(unsigned ms)
{
	struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};

	while (nanosleep(&t, &t) < 0 && errno == EINTR)
		;
}

static uint64_t left_ms(uint64_t end_ms)
{
	uint64_t now = monotonic_ms();

	return end_ms > now ? end_ms - now : 0;
}

bool patience_again(struct patience *p, int code, const struct error *err)
{
	uint64_t left = left_ms(code == -ENODEV ? p->device_end_ms : p->end_ms);
	const char *why = error_text(err, code);

	if (!patience_is_due(code) || left == 0)
		return false;
	if (strcmp(p->last, why) != 0) {
		log_warning("%s; waiting up to %llu s for that to change", why,
			    (unsigned long long)(left + 999) / 1000);
		(void)snprintf(p->last, sizeof(p->last), "%s", why);
	}
	status_set(p->status, "Waiting (up to %llu s more): %s",
		   (unsigned long long)(left + 999) / 1000, why);
	notify_extend(p->notify, p->delay_ms + ATTEMPT_MS);
	pause_ms((unsigned)MIN((uint64_t)p->delay_ms, left));
	p->delay_ms = MIN(2 * p->delay_ms, (unsigned)DELAY_MAX_MS);
	return true;
}

void patience_for_clock(struct patience *p)
{
	bool logged = false;

	while (!patience_clock_is_set(time(NULL)) && left_ms(p->end_ms) > 0) {
		if (!logged)
			log_warning("the clock is not set: it is before 2025; waiting for it");
		logged = true;
		status_set(p->status, "Waiting (up to %llu s more) for the clock to be set",
			   (unsigned long long)left_ms(p->end_ms) / 1000);
		notify_extend(p->notify, CLOCK_DELAY_MS + ATTEMPT_MS);
		pause_ms(CLOCK_DELAY_MS);
	}
}
