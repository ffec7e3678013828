/*
 * dates.h: times as AWS writes them (RFC 3339 in JSON and XML, RFC 7231 in headers, ISO 8601 basic
 * in signatures). Parsers are strict and take UTC only.
 */
#ifndef SEALEDFS_NET_DATES_H
#define SEALEDFS_NET_DATES_H

#include <stdint.h>

#define DATE_BASIC_SIZE 17 /* YYYYMMDDTHHMMSSZ and a NUL */

void date_format_basic(int64_t time_s, char out[DATE_BASIC_SIZE]);
/* "2026-01-02T03:04:05Z" or with an offset ("+01:00") for the Z, also with a fraction, which is
 * dropped. 0 or -EPROTO. */
int date_parse_rfc3339(const char *text, int64_t *ret_s);
/* "Fri, 24 May 2013 00:00:00 GMT". 0 or -EPROTO. */
int date_parse_http(const char *text, int64_t *ret_s);

#endif
