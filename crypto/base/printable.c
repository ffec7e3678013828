/*
 * Printing of text from outside. Job: the one place that decides which characters are harmless.
 * Trusts nothing. Must never let a character through that could change what a reader believes.
 */
#include "crypto/base/printable.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LINE_SIZE 1024 /* longer text is on the heap */

size_t utf8_next(const uint8_t *p, size_t left, uint32_t *ret)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t n = p[0] < 0x80			  ? 1
		   : p[0] >= 0xC2 && p[0] <= 0xDF ? 2
		   : p[0] >= 0xE0 && p[0] <= 0xEF ? 3
		   : p[0] >= 0xF0 && p[0] <= 0xF4 ? 4
						  : 0;
	uint32_t c;

	if (n == 0 || n > left)
		return 0;
	c = n == 1 ? p[0] : p[0] & (0x7FU >> n);
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xC0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3FU);
	}
	if (c < least[n] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
		return 0;
	*ret = c;
	return n;
}

bool utf8_valid(const void *text, size_t size)
{
	const uint8_t *p = text;
	uint32_t c;

	for (size_t i = 0, n; i < size; i += n) {
		n = utf8_next(p + i, size - i, &c);
		if (n == 0)
			return false;
	}
	return true;
}

bool utf8_has_control(const void *text, size_t size)
{
	const uint8_t *p = text;
	uint32_t c;

	for (size_t i = 0, n; i < size; i += n) {
		n = utf8_next(p + i, size - i, &c);
		if (n == 0)
			return false;
		if (c < 0x20 || (c >= 0x7F && c <= 0x9F))
			return true;
	}
	return false;
}

/* Ordered by code point. Invisible characters count: they hide that two names differ. */
bool char_misleads(uint32_t c)
{
	static const struct {
		uint32_t first, last;
	} ranges[] = {
		{0x0000, 0x001F}, {0x007F, 0x009F},	 {0x00AD, 0x00AD}, {0x034F, 0x034F},
		{0x061C, 0x061C}, {0x115F, 0x1160},	 {0x17B4, 0x17B5}, {0x180B, 0x180F},
		{0x200B, 0x200F}, {0x2028, 0x202E},	 {0x2060, 0x206F}, {0x3164, 0x3164},
		{0xFE00, 0xFE0F}, {0xFEFF, 0xFEFF},	 {0xFFA0, 0xFFA0}, {0xFFF0, 0xFFFB},
		{0xFFFE, 0xFFFF}, {0xE0000, UINT32_MAX},
	};

	for (size_t i = 0; i < ARRAY_LEN(ranges) && c >= ranges[i].first; i++)
		if (c <= ranges[i].last)
			return true;
	return false;
}

/* One character of in, printable, into out (at most 16 bytes). Returns the bytes taken. */
static size_t print_char(const uint8_t *in, size_t left, bool quoted, char *out,
			 size_t *ret_written)
{
	static const char digits[] = "0123456789abcdef";
	uint32_t c = 0;
	size_t n = utf8_next(in, left, &c), w = 0;

	if (n > 0 && !char_misleads(c) && !(quoted && (c == '"' || c == '\\'))) {
		memcpy(out, in, n);
		*ret_written = n;
		return n;
	}
	if (n == 0)
		n = 1;
	for (size_t i = 0; i < n; i++) {
		out[w++] = '\\';
		out[w++] = 'x';
		out[w++] = digits[in[i] >> 4];
		out[w++] = digits[in[i] & 15];
	}
	*ret_written = w;
	return n;
}

size_t printable_text(const char *text, size_t size, char *out)
{
	const uint8_t *p = (const uint8_t *)text;
	size_t written = 0, w = 0;

	for (size_t i = 0; i < size;) {
		i += print_char(p + i, size - i, false, out + written, &w);
		written += w;
	}
	out[written] = '\0';
	return written;
}

void name_printable(const char *name, char out[NAME_PRINTABLE_SIZE])
{
	static const char cut[] = "\xE2\x80\xA6";
	const uint8_t *p = (const uint8_t *)(name ? name : "?");
	size_t left = strlen((const char *)p), total = 0, w = 0, n;
	char piece[4 * PRINTABLE_GROWTH];

	for (size_t i = 0; i < left; i += n) {
		n = print_char(p + i, left - i, true, piece, &w);
		total += w;
	}
	if (total >= NAME_PRINTABLE_SIZE) {
		size_t room = NAME_PRINTABLE_SIZE - sizeof(cut);

		for (; total > room; total -= w) {
			n = print_char(p, left, true, piece, &w);
			p += n;
			left -= n;
		}
		memcpy(out, cut, sizeof(cut) - 1);
		out += sizeof(cut) - 1;
	}
	for (; left > 0; left -= n, p += n, out += w)
		n = print_char(p, left, true, out, &w);
	*out = '\0';
}

/* text: size bytes, made by a format that begins with so many line ends and ends with so many. */
static void write_body(FILE *to, const char *text, size_t size, size_t before, size_t after)
{
	char line[PRINTABLE_GROWTH * LINE_SIZE + 1];
	_cleanup_free_ char *more = NULL;
	size_t body = size - before - after, n;

	if (body > LINE_SIZE) {
		more = malloc(PRINTABLE_GROWTH * body + 1);
		if (!more) {
			(void)fputs("(no memory)", to);
			return;
		}
	}
	n = printable_text(text + before, body, more ? more : line);
	(void)fwrite(text, 1, before, to);
	(void)fwrite(more ? more : line, 1, n, to);
	(void)fwrite(text + size - after, 1, after, to);
}

void print_safely(FILE *to, const char *fmt, ...)
{
	size_t before = strspn(fmt, "\n"), length = strlen(fmt), after = 0;
	_cleanup_free_ char *text = NULL;
	va_list ap;
	int n;

	while (before + after < length && fmt[length - after - 1] == '\n')
		after++;
	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0) {
		text = NULL;
		(void)fputs("(no memory)\n", to);
		return;
	}
	write_body(to, text, (size_t)n, before, after);
}
