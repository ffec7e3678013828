/*
 * Times. Job: turn AWS's three spellings into seconds and back without the locale's or the time
 * zone's help. Input comes from servers: every digit is checked.
 */
#include "fs/net/dates.h"

#include "crypto/base/cleanup.h"

#include <errno.h>
#include <string.h>
#include <time.h>

void date_format_basic(int64_t time_s, char out[DATE_BASIC_SIZE])
{
	time_t t = (time_t)time_s;
	struct tm tm;

	out[0] = '\0';
	if (gmtime_r(&t, &tm))
		(void)strftime(out, DATE_BASIC_SIZE, "%Y%m%dT%H%M%SZ", &tm);
}

/* Reads a pattern in which each of the letters yodhms stands for one digit of a field and anything
 * else for itself. */
static int scan_digits(const char **text, const char *pattern, int fields[6])
{
	static const char names[] = "yodhms";
	const char *p = *text;

	for (; *pattern; pattern++, p++) {
		const char *name = strchr(names, *pattern);

		if (!name) {
			if (*p != *pattern)
				return -EPROTO;
			continue;
		}
		if (*p < '0' || *p > '9')
			return -EPROTO;
		fields[name - names] = fields[name - names] * 10 + (*p - '0');
	}
	*text = p;
	return 0;
}

static int to_seconds(const int f[6], int64_t *ret_s)
{
	struct tm tm = {.tm_year = f[0] - 1900,
			.tm_mon = f[1] - 1,
			.tm_mday = f[2],
			.tm_hour = f[3],
			.tm_min = f[4],
			.tm_sec = f[5]};

	if (f[0] < 1970 || f[1] < 1 || f[1] > 12 || f[2] < 1 || f[2] > 31 || f[3] > 23 ||
	    f[4] > 59 || f[5] > 60)
		return -EPROTO;
	*ret_s = timegm(&tm);
	return 0;
}

/* "Z", or how far local time is ahead: "+01:00", "-07:00". */
static int scan_offset(const char *text, int *ret_s)
{
	int fields[6] = {0}, sign = *text == '-' ? -1 : 1;

	*ret_s = 0;
	if (strcmp(text, "Z") == 0)
		return 0;
	if (*text != '+' && *text != '-')
		return -EPROTO;
	text++;
	if (scan_digits(&text, "hh:mm", fields) < 0 || *text || fields[3] > 23 || fields[4] > 59)
		return -EPROTO;
	*ret_s = sign * (fields[3] * 3600 + fields[4] * 60);
	return 0;
}

int date_parse_rfc3339(const char *text, int64_t *ret_s)
{
	int fields[6] = {0}, offset_s, r;
	int64_t seconds;

	if (scan_digits(&text, "yyyy-oo-ddThh:mm:ss", fields) < 0)
		return -EPROTO;
	if (*text == '.') {
		size_t digits = strspn(text + 1, "0123456789");

		if (digits == 0 || digits > 9)
			return -EPROTO;
		text += 1 + digits;
	}
	r = scan_offset(text, &offset_s);
	if (r == 0)
		r = to_seconds(fields, &seconds);
	if (r == 0)
		*ret_s = seconds - offset_s;
	return r;
}

int date_parse_http(const char *text, int64_t *ret_s)
{
	static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	int fields[6] = {0};

	/* The day of the week says nothing new; only its shape is checked. */
	if (strlen(text) != strlen("Fri, 24 May 2013 00:00:00 GMT") || text[3] != ',')
		return -EPROTO;
	text += 4;
	if (scan_digits(&text, " dd ", fields) < 0)
		return -EPROTO;
	for (int m = 0; m < 12; m++)
		if (strncmp(text, months[m], 3) == 0)
			fields[1] = m + 1;
	if (fields[1] == 0)
		return -EPROTO;
	text += 3;
	if (scan_digits(&text, " yyyy hh:mm:ss GMT", fields) < 0)
		return -EPROTO;
	return to_seconds(fields, ret_s);
}
