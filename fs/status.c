/*
 * The status line. Job: say the present, briefly, and not a thousand times a second while every
 * reader's request fails.
 */
#include "fs/status.h"

#include "fs/read/monotonic.h"

#include <pthread.h>
#include <stdarg.h>
#include <string.h>

#define DOING_MAX 512
#define TROUBLE_MAX 768
/* Trouble is shown for so long after it was last seen. */
#define TROUBLE_MS 15000
#define AGAIN_MS 1000

struct status {
	struct notify *notify;
	pthread_mutex_t lock; /* guards what follows */
	char doing[DOING_MAX];
	char trouble[TROUBLE_MAX]; /* "": none */
	uint64_t trouble_ms, told_ms;
};

int status_new(struct notify *notify, struct status **ret)
{
	struct status *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->notify = notify;
	pthread_mutex_init(&s->lock, NULL);
	*ret = s;
	return 0;
}

void status_free(struct status *s)
{
	if (!s)
		return;
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* Under the lock: a datagram to the manager does not block. */
static void tell(struct status *s, uint64_t now)
{
	s->told_ms = now;
	if (s->trouble[0])
		notify_status(s->notify, "%s; trying again: %s", s->doing, s->trouble);
	else
		notify_status(s->notify, "%s", s->doing);
}

void status_set(struct status *s, const char *fmt, ...)
{
	va_list ap;

	pthread_mutex_lock(&s->lock);
	va_start(ap, fmt);
	(void)vsnprintf(s->doing, sizeof(s->doing), fmt, ap);
	va_end(ap);
	s->trouble[0] = '\0';
	tell(s, monotonic_ms());
	pthread_mutex_unlock(&s->lock);
}

void status_trouble(struct status *s, const char *what, const char *why)
{
	uint64_t now = monotonic_ms();
	bool is_new;

	pthread_mutex_lock(&s->lock);
	is_new = s->trouble[0] == '\0';
	(void)snprintf(s->trouble, sizeof(s->trouble), "%s: %s", what, why);
	s->trouble_ms = now;
	if (is_new || now - s->told_ms >= AGAIN_MS)
		tell(s, now);
	pthread_mutex_unlock(&s->lock);
}

void status_refresh(struct status *s)
{
	uint64_t now = monotonic_ms();

	pthread_mutex_lock(&s->lock);
	if (s->trouble[0] && now - s->trouble_ms >= TROUBLE_MS) {
		s->trouble[0] = '\0';
		tell(s, now);
	}
	pthread_mutex_unlock(&s->lock);
}
