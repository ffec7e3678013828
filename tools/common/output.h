/*
 * output.h: results on standard output, for people or as JSON. Names from elsewhere are printed so
 * that they cannot forge a line. Never given a secret.
 */
#ifndef SEALEDFS_TOOLS_OUTPUT_H
#define SEALEDFS_TOOLS_OUTPUT_H

#include "crypto/base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define OUTPUT_HEX_MAX 128 /* bytes that output_hex() takes */

/* One JSON value and a newline; takes the reference. -EIO when standard output fails. */
int output_json(json_t *value);
/* {"code": "ENOENT", "message": …, "hint": …, "exit_code": 1}. */
json_t *output_error_json(const struct error *err, int code);
/* {"error": {…}} for a failed verb. */
void output_json_error(const struct error *err, int code);
/* Flushes standard output; -EIO when anything that was printed got lost. */
int output_finish(struct error *err);

/* Takes value. On failure *list becomes NULL, so that output_json() fails rather than leave it out.
 */
void output_append(json_t **list, json_t *value);
/* New references; NULL only without memory. Bytes that are not UTF-8 become U+FFFD. */
json_t *output_text(const char *text);
json_t *output_hex_json(const void *data, size_t size);
/* "2026-02-03T10:12:02Z", with milliseconds where ms is not a whole second. */
#define OUTPUT_TIME_SIZE 32
const char *output_time_ms(int64_t ms, char out[OUTPUT_TIME_SIZE]);

/* Static-free hex: out has 2 * size + 1 bytes. */
#define OUTPUT_HEX(data, size) output_hex((data), (size), (char[2 * OUTPUT_HEX_MAX + 1]){0})
const char *output_hex(const void *data, size_t size, char *out);

#define OUTPUT_AMOUNT_SIZE 24
/* "0 bytes", "812 kB", "4.1 GB": powers of 1000. */
const char *output_amount(double bytes, char out[OUTPUT_AMOUNT_SIZE]);

#endif
