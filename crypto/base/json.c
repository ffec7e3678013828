/*
 * JSON. Job: no value that jansson has seen survives in freed memory, and no output can control a
 * terminal. Trusts jansson's parser. Must never parse before the wiping allocator is in place.
 */
#include "crypto/base/json.h"

#include "crypto/base/printable.h"
#include "crypto/base/secret.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <string.h>

/* U+FFFD in UTF-8, in place of what is not. */
#define REPLACEMENT "\xEF\xBF\xBD"

static void free_wiped(void *p)
{
	if (p)
		wipe(p, malloc_usable_size(p));
	free(p);
}

/* Process-wide: every user of jansson in this process gets wiped memory. */
static void use_wiping_allocator(void)
{
	json_set_alloc_funcs(malloc, free_wiped);
}

json_t *json_object_parse(const void *data, size_t size)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	json_t *value;

	pthread_once(&once, use_wiping_allocator);
	value = json_loadb(data, size, JSON_REJECT_DUPLICATES, NULL);
	if (value && !json_is_object(value)) {
		json_decref(value);
		return NULL;
	}
	return value;
}

const char *json_text(const json_t *object, const char *name)
{
	const char *s = json_string_value(json_object_get(object, name));

	return s && s[0] ? s : NULL;
}

json_t *json_outside_text(const char *text)
{
	size_t size = strlen(text), used = 0, n;
	_cleanup_free_ char *clean = NULL;
	uint32_t c;

	if (utf8_valid(text, size))
		return json_string(text);
	clean = malloc(sizeof(REPLACEMENT) * size + 1);
	if (!clean)
		return NULL;
	for (size_t i = 0; i < size; i += n) {
		n = utf8_next((const uint8_t *)text + i, size - i, &c);
		memcpy(clean + used, n ? text + i : REPLACEMENT, n ? n : sizeof(REPLACEMENT) - 1);
		used += n ? n : sizeof(REPLACEMENT) - 1;
		n = n ? n : 1;
	}
	clean[used] = '\0';
	return json_string(clean);
}

/* jansson leaves DEL as it is; outside of strings there is none. */
static int write_piece(const char *data, size_t size, void *to)
{
	while (size > 0) {
		const char *del = memchr(data, 0x7F, size);
		size_t n = del ? (size_t)(del - data) : size;

		if (fwrite(data, 1, n, to) != n || (del && fputs("\\u007f", to) < 0))
			return -1;
		n += del != NULL;
		data += n;
		size -= n;
	}
	return 0;
}

int json_print(const json_t *value, FILE *to)
{
	if (json_dump_callback(value, write_piece, to, JSON_INDENT(2) | JSON_ENSURE_ASCII) < 0 ||
	    fputc('\n', to) == EOF)
		return -EIO;
	return 0;
}
