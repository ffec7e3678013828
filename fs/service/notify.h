/*
 * notify.h: messages to the service manager: ready, the status line, "needs more time", "alive"
 * (sd_notify(3): a datagram of VAR=VALUE lines to the socket in $NOTIFY_SOCKET). If that variable
 * is not set, nothing is sent.
 *
 * Texts are for people: `systemctl status` shows the last status line. Never a secret. Thread-safe.
 */
#ifndef SEALEDFS_SERVICE_NOTIFY_H
#define SEALEDFS_SERVICE_NOTIFY_H

#include "crypto/base/error.h"

#include <stdbool.h>

struct notify;

/*
 * Removes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID from the environment, so that no child
 * process sends messages. -ENOMEM; -EINVAL: a variable has an invalid value.
 */
int notify_new(struct notify **ret, struct error *err);
void notify_free(struct notify *n);

/* True if messages are sent to a service manager. */
bool notify_is_heard(const struct notify *n);
/* The longest time between two calls of notify_alive(), in ms; 0: there is no watchdog. */
unsigned notify_watchdog_ms(const struct notify *n);

void notify_ready(struct notify *n);
void notify_reloading(struct notify *n);
void notify_stopping(struct notify *n);
/* Starting, stopping or reloading may take up to this time from now. */
void notify_extend(struct notify *n, unsigned ms);
void notify_alive(struct notify *n);

/* The status line: the current activity. */
void notify_status(struct notify *n, const char *fmt, ...) _printf_(2, 3);
/* Adds to the status line that a request failed and will be repeated. Rate-limited. */
void notify_trouble(struct notify *n, const char *what, const char *why);
/* To be called every few seconds: removes the trouble of requests that no longer fail. */
void notify_refresh(struct notify *n);
/* Logs the status line if it differs from the last one that was logged. */
void notify_log_status(struct notify *n);

DEFINE_CLEANUP(struct notify *, notify_free)

#endif
