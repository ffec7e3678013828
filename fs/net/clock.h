/*
 * clock.h: times as AWS writes them (RFC 3339 in JSON and XML, RFC 7231 in headers, ISO 8601 basic
 * in signatures), and the two clocks. Parsers are strict and take UTC only.
 */
#ifndef SEALEDFS_NET_CLOCK_H
#define SEALEDFS_NET_CLOCK_H

#include <stdint.h>

#define CLOCK_BASIC_SIZE 17 /* YYYYMMDDTHHMMSSZ and a NUL */

int64_t clock_now_s(void); /* since 1970 */
int64_t clock_monotonic_ms(void);
void clock_format_basic(int64_t time_s, char out[CLOCK_BASIC_SIZE]);
/* "2026-01-02T03:04:05Z", also with a fraction, which is dropped. 0 or -EPROTO. */
int clock_parse_rfc3339(const char *text, int64_t *ret_s);
/* "Fri, 24 May 2013 00:00:00 GMT". 0 or -EPROTO. */
int clock_parse_http(const char *text, int64_t *ret_s);

#endif
