/*
 * printable.h: makes text from outside safe to show.
 *
 * Names, server answers, TPM strings and the like may hold characters that begin a line, drive a
 * terminal, hide or reorder text. All output passes one function here, at the sinks (log.h,
 * print_safely(), the JSON and Prometheus writers), so that no caller can forget it. Misleading
 * are: control characters (C0, DEL, C1), direction marks and other invisible characters (Unicode
 * 15: Cf and the like), line and paragraph separators, and bytes that are not UTF-8 (table 3-7).
 * Each of their bytes becomes \xNN. The sinks leave quotes and backslashes alone, so that text that
 * was made printable before stays as it is. Functions are pure unless they print.
 */
#ifndef SEALEDFS_BASE_PRINTABLE_H
#define SEALEDFS_BASE_PRINTABLE_H

#include "crypto/base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that name_printable() may write, with the NUL. */
#define NAME_PRINTABLE_SIZE 257
/* Bytes that one byte of text may become. */
#define PRINTABLE_GROWTH 4

/* The bytes of the well-formed character at p (left > 0), 0 when it is not one; *ret is its code
 * point. */
size_t utf8_next(const uint8_t *p, size_t left, uint32_t *ret);
bool utf8_valid(const void *text, size_t size);
/* True when well-formed UTF-8 holds U+0000 to U+001F or U+007F to U+009F. */
bool utf8_has_control(const void *text, size_t size);
/* The character must be escaped. Quotes and backslashes need not be outside of quotes. */
bool char_misleads(uint32_t c);

/* Writes size bytes of text, and a NUL, to out, which has PRINTABLE_GROWTH * size + 1 bytes.
 * Returns the length. */
size_t printable_text(const char *text, size_t size, char *out);
/*
 * The same for a name that a message puts between quotes: quotes and backslashes are written as
 * \xNN, too. A name that is too long is cut at the front ("…"), because the end of a path says
 * more. A NULL name prints as "?".
 */
void name_printable(const char *name, char out[NAME_PRINTABLE_SIZE]);

/*
 * fprintf() for text that may hold outside strings. Line ends at the beginning and end of fmt are
 * written as they are. Any other line end may come from an argument and is written as \x0a: a text
 * of two lines needs two calls.
 */
void print_safely(FILE *to, const char *fmt, ...) _printf_(2, 3);

#endif
