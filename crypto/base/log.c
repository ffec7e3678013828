/*
 * Logging. Formats one line and hands it to standard error (with the journal's <N> level prefix
 * when standard error is the journal) or syslog. The whole line passes printable.h, whatever it was
 * made of: names, servers' answers and TPM strings cannot forge a line or drive a terminal.
 */
#include "crypto/base/log.h"

#include "crypto/base/printable.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define LOG_LINE_MAX 2048

static struct {
	const char *program;
	int max_level;
	bool to_syslog;
	bool to_journal;
} logger = {.program = "sealedfs", .max_level = LOG_NOTICE};

void log_setup(const char *program, int max_level, bool to_syslog)
{
	logger.program = program;
	logger.max_level = max_level;
	logger.to_syslog = to_syslog;
	logger.to_journal = getenv("JOURNAL_STREAM") != NULL;
	if (to_syslog)
		openlog(program, LOG_PID, LOG_DAEMON);
}

void log_write(int level, const char *fmt, ...)
{
	char text[LOG_LINE_MAX], line[PRINTABLE_GROWTH * LOG_LINE_MAX + 1];
	va_list ap;

	if (level > logger.max_level)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	printable_text(text, strlen(text), line);
	if (logger.to_syslog)
		syslog(level, "%s", line);
	else if (logger.to_journal)
		fprintf(stderr, "<%d>%s\n", level, line);
	else
		fprintf(stderr, "%s: %s\n", logger.program, line);
}

void log_error_object(int level, const struct error *err, int code, const char *what)
{
	const char *hint = err ? err->hint : "";

	log_write(level, "%s%s%s%s%s", what ? what : "", what ? ": " : "", error_text(err, code),
		  hint[0] ? "; " : "", hint);
}
