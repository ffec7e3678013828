/*
 * notify.h: what the service manager is told: ready, what is being done, that more time is needed,
 * that the process is alive (sd_notify(3); the protocol is a datagram of VAR=VALUE lines to the
 * socket in $NOTIFY_SOCKET, and stable). Without that variable every call does nothing.
 *
 * Texts are for people: `systemctl status` shows the last one. Never a secret. Thread-safe.
 */
#ifndef SEALEDFS_NOTIFY_H
#define SEALEDFS_NOTIFY_H

#include "crypto/base/error.h"

#include <stdbool.h>

struct notify;

/*
 * Takes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID out of the environment, so that no child
 * speaks for this process. -ENOMEM; -EINVAL: the variables make no sense.
 */
int notify_new(struct notify **ret, struct error *err);
void notify_free(struct notify *n);

/* True: somebody listens. */
bool notify_is_heard(const struct notify *n);
/* How often notify_alive() is expected at least, in ms; 0: not at all. */
unsigned notify_watchdog_ms(const struct notify *n);

void notify_status(struct notify *n, const char *fmt, ...) _printf_(2, 3);
void notify_ready(struct notify *n);
void notify_reloading(struct notify *n);
void notify_stopping(struct notify *n);
/* Starting, stopping or reloading goes on for up to this time from now. */
void notify_extend(struct notify *n, unsigned ms);
void notify_alive(struct notify *n);

DEFINE_CLEANUP(struct notify *, notify_free)

#endif
