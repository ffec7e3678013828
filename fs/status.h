/*
 * status.h: the line that `systemctl status` shows: what the daemon is doing, or why it waits.
 * Thread-safe.
 */
#ifndef SEALEDFS_STATUS_H
#define SEALEDFS_STATUS_H

#include "fs/notify.h"

struct status;

/* notify is borrowed. */
int status_new(struct notify *notify, struct status **ret);
void status_free(struct status *s);
/* What is being done from now on. */
void status_set(struct status *s, const char *fmt, ...) _printf_(2, 3);
/* A request failed and will be tried again: shown beside what is being done. */
void status_trouble(struct status *s, const char *what, const char *why);
/* To be called now and then: trouble that is over is no longer shown. */
void status_refresh(struct status *s);

DEFINE_CLEANUP(struct status *, status_free)

#endif
