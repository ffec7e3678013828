/*
 * log.h: one line for each message, to standard error or to syslog.
 *
 * Libraries log at LOG_DEBUG only; programs log an error once, with the object, the operation and
 * what to do. Callers need not escape strings: each line passes printable.h. Never give it a
 * secret. Thread-safe.
 */
#ifndef SEALEDFS_BASE_LOG_H
#define SEALEDFS_BASE_LOG_H

#include "crypto/base/error.h"

#include <stdbool.h>
#include <syslog.h>

/* program is the prefix of each line ("sealedfs"); max_level is the least urgent level shown. */
void log_setup(const char *program, int max_level, bool to_syslog);
void log_write(int level, const char *fmt, ...) _printf_(2, 3);
/* Logs an error object: message, then "; " and its hint. */
void log_error_object(int level, const struct error *err, int code, const char *what);

#define log_error(...) log_write(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_WARNING, __VA_ARGS__)
#define log_notice(...) log_write(LOG_NOTICE, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)

#endif
