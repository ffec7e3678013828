/*
 * Printing of results. Job: the same facts as text or JSON. Trusts no name. Must never print a
 * secret, and must not let a full disk behind standard output pass as success.
 */
#include "tools/output.h"

#include "crypto/base/encode.h"
#include "crypto/name.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

int output_json(json_t *value)
{
	int r = -ENOMEM;

	if (value)
		r = json_dumpf(value, stdout, JSON_INDENT(2)) == 0 ? 0 : -EIO;
	json_decref(value);
	if (r == 0 && putchar('\n') == EOF)
		r = -EIO;
	return r;
}

json_t *output_error_json(const struct error *err, int code)
{
	const char *name = strerrorname_np(code < 0 ? -code : code);

	return json_pack("{s:s, s:o, s:o, s:i}", "code", name ? name : "UNKNOWN", "message",
			 output_text(error_text(err, code)), "hint",
			 output_text(err ? err->hint : ""), "exit_code",
			 (int)error_exit_code(code));
}

void output_json_error(const struct error *err, int code)
{
	(void)output_json(json_pack("{s:o}", "error", output_error_json(err, code)));
}

int output_finish(struct error *err)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	return error_set(err, -EIO, "cannot write to standard output: %s", strerror(errno));
}

void output_append(json_t **list, json_t *value)
{
	if (*list && value && json_array_append_new(*list, value) == 0)
		return;
	if (!*list)
		json_decref(value);
	json_decref(*list);
	*list = NULL;
}

json_t *output_text(const char *text)
{
	size_t size = strlen(text);
	_cleanup_free_ char *clean = NULL;
	char *out;

	if (utf8_valid(text, size))
		return json_string(text);
	out = clean = malloc(3 * size + 1);
	if (!clean)
		return NULL;
	while (*text) {
		size_t n = 1;

		/* The shortest valid prefix is one character. */
		while (n < 4 && text[n] && !utf8_valid(text, n))
			n++;
		if (utf8_valid(text, n)) {
			memcpy(out, text, n);
			out += n;
			text += n;
		} else {
			memcpy(out, "\xef\xbf\xbd", 3);
			out += 3;
			text++;
		}
	}
	*out = '\0';
	return json_string(clean);
}

json_t *output_hex_json(const void *data, size_t size)
{
	_cleanup_free_ char *text = malloc(2 * size + 1);

	if (!text)
		return NULL;
	hex_encode(data, size, text);
	return json_string(text);
}

const char *output_hex(const void *data, size_t size, char *out)
{
	hex_encode(data, MIN(size, (size_t)OUTPUT_HEX_MAX), out);
	return out;
}

const char *output_time_ms(int64_t ms, char out[OUTPUT_TIME_SIZE])
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;
	size_t n;

	if (ms < 0 || !gmtime_r(&seconds, &tm) || tm.tm_year > 9999 - 1900)
		return "?";
	n = strftime(out, OUTPUT_TIME_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(out + n, OUTPUT_TIME_SIZE - n, ms % 1000 ? ".%03dZ" : "Z", (int)(ms % 1000));
	return out;
}

const char *output_amount(double bytes, char out[OUTPUT_AMOUNT_SIZE])
{
	static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB"};
	size_t u = 0;

	while (bytes >= 999.5 && u + 1 < ARRAY_LEN(units)) {
		bytes /= 1000;
		u++;
	}
	(void)snprintf(out, OUTPUT_AMOUNT_SIZE, u > 0 && bytes < 9.95 ? "%.1f %s" : "%.0f %s",
		       bytes, u == 0 && bytes == 1 ? "byte" : units[u]);
	return out;
}
