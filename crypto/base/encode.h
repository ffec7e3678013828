/*
 * encode.h: hexadecimal and base64, both ways, and numbers; strict.
 *
 * Hex output is lower case; input may be either case. Base64 is RFC 4648 section 4 with padding,
 * no white space. Decoders refuse anything else with -EPROTO.
 */
#ifndef SEALEDFS_BASE_ENCODE_H
#define SEALEDFS_BASE_ENCODE_H

#include <stddef.h>
#include <stdint.h>

/* out has room for 2 * size + 1 bytes. */
void hex_encode(const void *data, size_t size, char *out);
/* text must be exactly 2 * size digits. 0 or -EPROTO. */
int hex_decode(const char *text, void *out, size_t size);

/* A NUL-terminated string that the caller frees; NULL: out of memory. */
char *base64_encode(const void *data, size_t size);
/* Fresh memory of *ret_size bytes (at least one is allocated), at most max. 0, -EPROTO, -E2BIG,
 * -ENOMEM. */
int base64_decode(const char *text, size_t max, uint8_t **ret, size_t *ret_size);

/* Digits of base 8 or 10 and nothing else, at most max. 0, or -EINVAL and *ret is unchanged. */
int number_parse(const char *text, unsigned base, uint64_t max, uint64_t *ret);
/* The same of base 10 with an optional unit at its end: units names them, as in "KMGT", each 1024
 * times the one before. */
int size_parse(const char *text, const char *units, uint64_t max, uint64_t *ret);

#endif
