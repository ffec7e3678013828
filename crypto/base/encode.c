/*
 * Hexadecimal, base64 and numbers. Strict decoders: one valid encoding of everything. Base64 is
 * OpenSSL's, with checks around it, because its decoder accepts white space and miscounts padding.
 */
#include "crypto/base/encode.h"

#include "crypto/base/cleanup.h"
#include "crypto/base/secret.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

void hex_encode(const void *data, size_t size, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = data;

	for (size_t i = 0; i < size; i++) {
		out[2 * i] = digits[p[i] >> 4];
		out[2 * i + 1] = digits[p[i] & 15];
	}
	out[2 * size] = '\0';
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int hex_decode(const char *text, void *out, size_t size)
{
	uint8_t *p = out;

	if (strlen(text) != 2 * size)
		return -EPROTO;
	for (size_t i = 0; i < size; i++) {
		int hi = hex_digit(text[2 * i]), lo = hex_digit(text[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return -EPROTO;
		p[i] = (uint8_t)(hi << 4 | lo);
	}
	return 0;
}

char *base64_encode(const void *data, size_t size)
{
	char *out;

	if (size > INT32_MAX / 2)
		return NULL;
	out = malloc((size + 2) / 3 * 4 + 1);
	if (out)
		EVP_EncodeBlock((unsigned char *)out, data, (int)size);
	return out;
}

int base64_decode(const char *text, size_t max, uint8_t **ret, size_t *ret_size)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t len = strlen(text), pad = 0, size;
	_cleanup_free_ uint8_t *out = NULL;
	_cleanup_free_ char *again = NULL;

	if (len % 4 != 0)
		return -EPROTO;
	while (pad < 2 && pad < len && text[len - 1 - pad] == '=')
		pad++;
	if (strspn(text, alphabet) != len - pad)
		return -EPROTO;
	size = len / 4 * 3 - pad;
	if (size > max || len > INT32_MAX)
		return -E2BIG;
	out = malloc(len / 4 * 3 + 1);
	if (!out)
		return -ENOMEM;
	if (len > 0 && EVP_DecodeBlock(out, (const unsigned char *)text, (int)len) < 0)
		return -EPROTO;
	/* Refuse non-zero bits under the padding. */
	again = base64_encode(out, size);
	if (!again) {
		wipe(out, size);
		return -ENOMEM;
	}
	if (strcmp(again, text) != 0) {
		wipe(again, strlen(again));
		wipe(out, size);
		return -EPROTO;
	}
	wipe(again, strlen(again));
	*ret = steal_ptr(out);
	*ret_size = size;
	return 0;
}

int number_parse(const char *text, unsigned base, uint64_t max, uint64_t *ret)
{
	uint64_t value = 0;

	if (!text[0])
		return -EINVAL;
	for (; *text; text++) {
		unsigned digit = (unsigned char)*text - '0';

		if (digit >= base || digit > max || value > (max - digit) / base)
			return -EINVAL;
		value = value * base + digit;
	}
	*ret = value;
	return 0;
}

int size_parse(const char *text, const char *units, uint64_t max, uint64_t *ret)
{
	size_t size = strlen(text);
	const char *unit = size > 0 ? strchr(units, text[size - 1]) : NULL;
	unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
	char digits[24];
	uint64_t v;

	size -= unit != NULL;
	if (size >= sizeof(digits))
		return -EINVAL;
	memcpy(digits, text, size);
	digits[size] = '\0';
	if (number_parse(digits, 10, max >> shift, &v) < 0)
		return -EINVAL;
	*ret = v << shift;
	return 0;
}
