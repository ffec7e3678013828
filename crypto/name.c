/*
 * Names of models. Job: decide which bytes are a name, and print any bytes harmlessly. Trusts
 * nothing. Must never accept a name that could leave its directory, nor print one that could
 * change what a reader of a message believes.
 */
#include "crypto/name.h"

#include "crypto/base/cleanup.h"
#include "crypto/format.h"

#include <string.h>

/* The bytes of the character at p, 0 when it is not well-formed; *ret is the code point. */
static size_t utf8_next(const uint8_t *p, size_t left, uint32_t *ret)
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

const char *name_problem(const void *name, size_t size)
{
	if (size == 0)
		return "the name is empty";
	if (size > SEAL_NAME_MAX)
		return "the name is longer than 255 bytes";
	if (memchr(name, '\0', size))
		return "the name holds a NUL byte";
	if (memchr(name, '/', size))
		return "the name holds a slash";
	if ((size == 1 && memcmp(name, ".", 1) == 0) || (size == 2 && memcmp(name, "..", 2) == 0))
		return "the name is . or ..";
	if (!utf8_valid(name, size))
		return "the name is not UTF-8";
	return NULL;
}

/* Characters that move the cursor, hide or reorder what follows, or end our quotes. */
static bool misleads(uint32_t c)
{
	return c < 0x20 || (c >= 0x7F && c <= 0x9F) || c == '"' || c == '\\' || c == 0x061C ||
	       (c >= 0x200B && c <= 0x200F) || (c >= 0x2028 && c <= 0x202E) ||
	       (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF || c >= 0xE0000;
}

/* One character of in, printable, into out (at most 16 bytes). Returns the bytes taken. */
static size_t print_char(const uint8_t *in, size_t left, char *out, size_t *ret_written)
{
	static const char digits[] = "0123456789abcdef";
	uint32_t c = 0;
	size_t n = utf8_next(in, left, &c), w = 0;

	if (n > 0 && !misleads(c)) {
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

void name_printable(const char *name, char out[NAME_PRINTABLE_SIZE])
{
	static const char cut[] = "\xE2\x80\xA6";
	const uint8_t *p = (const uint8_t *)(name ? name : "?");
	size_t left = strlen((const char *)p), total = 0, w = 0, n;
	char piece[16];

	for (size_t i = 0; i < left; i += n) {
		n = print_char(p + i, left - i, piece, &w);
		total += w;
	}
	if (total >= NAME_PRINTABLE_SIZE) {
		size_t room = NAME_PRINTABLE_SIZE - sizeof(cut);

		for (; total > room; total -= w) {
			n = print_char(p, left, piece, &w);
			p += n;
			left -= n;
		}
		memcpy(out, cut, sizeof(cut) - 1);
		out += sizeof(cut) - 1;
	}
	for (; left > 0; left -= n, p += n, out += w)
		n = print_char(p, left, out, &w);
	*out = '\0';
}

const char *name_last_component(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}
