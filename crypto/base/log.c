/*
 * Logging. Formats one line and hands it to standard error (with the journal's <N> level prefix
 * when standard error is the journal) or syslog. Control characters in untrusted text become '?',
 * so that an object's name cannot forge a line.
 */
#include "crypto/base/log.h"

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
	char line[LOG_LINE_MAX];
	va_list ap;

	if (level > logger.max_level)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	for (char *p = line; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
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
