/*
 * text.h: growing text with a sticky failure, and percent-encoding (RFC 3986; AWS's "UriEncode").
 *
 * Append as often as needed and ask once: text_steal() gives NULL when any step failed. With
 * `secret` set, memory is wiped before it is released. Threads: one at a time.
 */
#ifndef SEALEDFS_NET_TEXT_H
#define SEALEDFS_NET_TEXT_H

#include "crypto/base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text {
	char *data; /* NUL-terminated once anything was appended */
	size_t size;
	size_t capacity;
	bool failed;
	bool secret;
};

void text_append(struct text *t, const char *s);
void text_append_n(struct text *t, const void *data, size_t size);
void text_printf(struct text *t, const char *fmt, ...) _printf_(2, 3);
/* Everything but A-Z a-z 0-9 - _ . ~ (and '/' with keep_slash) becomes %XX. */
void text_append_uri(struct text *t, const void *data, size_t size, bool keep_slash);
void text_clear(struct text *t);
/* The text, owned by the caller; NULL: out of memory. An empty text is "". */
char *text_steal(struct text *t);

/*
 * Decodes %XX in place, and '+' to a space when plus is set. Returns the new size, or -1 on a bad
 * escape. The result is NUL-terminated but may contain NUL bytes.
 */
ssize_t uri_decode(char *s, bool plus);

/* Whether every byte is a printable ASCII character other than space. True for "". */
bool text_is_graphic(const char *s);
/* A decimal number at *text, which moves behind it. -EPROTO: none, or 10^18 and more. */
int text_parse_u64(const char **text, uint64_t *ret);
/* free() for a text that may be secret; NULL is allowed. */
void text_wipe_free(char *s);
/* Copies src (NULL: "") to dst, with '?' for control characters, cut to size bytes with the NUL. */
void text_copy(char *dst, size_t size, const char *src);

DEFINE_CLEANUP(char *, text_wipe_free)
#define _cleanup_text_ _cleanup_(text_clear)

#endif
