/*
 * Growing text. Job: build URLs, canonical requests and small JSON bodies without length
 * arithmetic at the call sites. Trusts its callers' sizes. Must never leave a secret text behind
 * in freed memory.
 */
#include "fs/net/text.h"

#include "crypto/base/encode.h"
#include "crypto/base/secret.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define TEXT_CAPACITY_MIN 128

static bool text_reserve(struct text *t, size_t extra)
{
	size_t capacity = t->capacity ? t->capacity : TEXT_CAPACITY_MIN;
	char *bigger;

	if (t->failed)
		return false;
	if (extra >= SIZE_MAX / 4 - t->size) {
		t->failed = true;
		return false;
	}
	while (capacity <= t->size + extra)
		capacity *= 2;
	if (capacity == t->capacity)
		return true;
	/* Not realloc(): it would leave the old bytes behind unwiped. */
	bigger = malloc(capacity);
	if (!bigger) {
		t->failed = true;
		return false;
	}
	if (t->data) {
		memcpy(bigger, t->data, t->size + 1);
		if (t->secret)
			wipe(t->data, t->size);
		free(t->data);
	}
	t->data = bigger;
	t->capacity = capacity;
	return true;
}

void text_append_n(struct text *t, const void *data, size_t size)
{
	if (!text_reserve(t, size))
		return;
	if (size > 0)
		memcpy(t->data + t->size, data, size);
	t->size += size;
	t->data[t->size] = '\0';
}

void text_append(struct text *t, const char *s)
{
	text_append_n(t, s, strlen(s));
}

void text_printf(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0 || !text_reserve(t, (size_t)n)) {
		t->failed = true;
		return;
	}
	va_start(ap, fmt);
	(void)vsnprintf(t->data + t->size, t->capacity - t->size, fmt, ap);
	va_end(ap);
	t->size += (size_t)n;
}

static bool is_unreserved(unsigned char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_' || c == '.' || c == '~';
}

void text_append_uri(struct text *t, const void *data, size_t size, bool keep_slash)
{
	static const char digits[] = "0123456789ABCDEF";
	const unsigned char *p = data;

	if (size > SIZE_MAX / 8 || !text_reserve(t, 3 * size)) {
		t->failed = true;
		return;
	}
	for (size_t i = 0; i < size; i++) {
		if (is_unreserved(p[i]) || (keep_slash && p[i] == '/')) {
			t->data[t->size++] = (char)p[i];
			continue;
		}
		t->data[t->size++] = '%';
		t->data[t->size++] = digits[p[i] >> 4];
		t->data[t->size++] = digits[p[i] & 15];
	}
	t->data[t->size] = '\0';
}

void text_clear(struct text *t)
{
	if (t->secret && t->data)
		wipe(t->data, t->size);
	free(t->data);
	*t = (struct text){.secret = t->secret};
}

char *text_steal(struct text *t)
{
	char *s;

	text_append_n(t, "", 0);
	if (t->failed) {
		text_clear(t);
		return NULL;
	}
	s = t->data;
	*t = (struct text){.secret = t->secret};
	return s;
}

ssize_t uri_decode(char *s, bool plus)
{
	char *out = s;

	for (const char *p = s; *p; p++) {
		char digits[3] = {0};
		uint8_t byte;

		if (*p != '%') {
			*out = *p;
			if (plus && *p == '+')
				*out = ' ';
			out++;
			continue;
		}
		digits[0] = p[1];
		if (p[1])
			digits[1] = p[2];
		if (hex_decode(digits, &byte, 1) < 0)
			return -1;
		*(unsigned char *)out++ = byte;
		p += 2;
	}
	*out = '\0';
	return out - s;
}

void text_copy(char *dst, size_t size, const char *src)
{
	size_t i;

	for (i = 0; src && src[i] && i + 1 < size; i++) {
		dst[i] = src[i];
		if ((unsigned char)src[i] < 0x20 || src[i] == 0x7f)
			dst[i] = '?';
	}
	dst[i] = '\0';
}

bool text_is_graphic(const char *s)
{
	for (; *s; s++)
		if (*s <= ' ' || *s > '~')
			return false;
	return true;
}

int text_parse_u64(const char **text, uint64_t *ret)
{
	size_t n = strspn(*text, "0123456789");
	uint64_t value = 0;

	if (n == 0 || n > 18)
		return -EPROTO;
	for (; n > 0; n--, (*text)++)
		value = value * 10 + (uint64_t)(**text - '0');
	*ret = value;
	return 0;
}

void text_wipe_free(char *s)
{
	if (s)
		wipe(s, strlen(s));
	free(s);
}
