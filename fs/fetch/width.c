/*
 * The width of the link. Job: raise the limit in additive steps while that raises the rate, halve
 * it when the server refuses. A wrong limit costs time, never a wrong byte.
 */
#include "fs/fetch/width.h"

#define STEP 2

void link_init(struct link *l, unsigned limit_max)
{
	unsigned max = limit_max < LINK_MAX ? limit_max : LINK_MAX;

	if (max == 0)
		max = 1;
	*l = (struct link){.limit_max = max, .limit = max < LINK_START ? max : LINK_START};
}

static void begin_epoch(struct link *l, uint64_t now_ms)
{
	l->epoch_start_ms = now_ms;
	l->epoch_bytes = 0;
	l->epoch_done = 0;
	l->epoch_busy = 0;
}

static void step_up(struct link *l, uint64_t rate)
{
	unsigned step = l->limit_max - l->limit;

	if (step > STEP)
		step = STEP;
	l->limit += step;
	l->stepped = step;
	l->rate = rate;
}

/* rate was measured with all of the limit in use. */
static void judge(struct link *l, uint64_t rate, uint64_t now_ms)
{
	if (l->throttled && now_ms - l->throttled_ms < LINK_CALM_MS) {
		l->stepped = 0;
		return;
	}
	if (l->stepped > 0 && rate < l->rate + l->rate * LINK_GAIN_PERCENT / 100) {
		l->limit -= l->stepped;
		l->stepped = 0;
		l->hold = LINK_HOLD_EPOCHS;
	} else if (l->hold > 0) {
		l->hold--;
	} else {
		step_up(l, rate);
	}
}

void link_done(struct link *l, uint64_t bytes, bool busy, uint64_t now_ms)
{
	uint64_t elapsed_ms;

	if (l->epoch_start_ms == 0) {
		/* Its bytes came before the epoch. */
		begin_epoch(l, now_ms);
		return;
	}
	l->epoch_bytes += bytes;
	l->epoch_done++;
	l->epoch_busy += busy;
	elapsed_ms = now_ms - l->epoch_start_ms;
	if (elapsed_ms < LINK_EPOCH_MS || l->epoch_done < l->limit)
		return;
	/* Else the reader was the slow part. */
	if (l->epoch_busy * 4 >= l->epoch_done * 3)
		judge(l, l->epoch_bytes * 1000 / elapsed_ms, now_ms);
	begin_epoch(l, now_ms);
}

void link_throttled(struct link *l, uint64_t now_ms)
{
	if (l->throttled && now_ms - l->throttled_ms < LINK_THROTTLE_MS)
		return;
	l->throttled = true;
	l->throttled_ms = now_ms;
	l->limit = l->limit > 1 ? l->limit / 2 : 1;
	l->stepped = 0;
	l->hold = 0;
	begin_epoch(l, now_ms);
}
