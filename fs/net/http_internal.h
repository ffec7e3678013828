/*
 * http_curl.h: between http.c (the pool and the public calls) and http_exchange.c (one exchange on
 * one libcurl handle). Nobody else includes it.
 */
#ifndef SEALEDFS_NET_HTTP_CURL_H
#define SEALEDFS_NET_HTTP_CURL_H

#include "fs/net/http.h"

#include <curl/curl.h>
#include <stdatomic.h>

#define HTTP_ORIGIN_MAX 272 /* scheme://host:port of the longest host name */

struct http_handle {
	struct http_handle *next;
	CURL *curl;
	char origin[HTTP_ORIGIN_MAX]; /* last one used: where its open connection leads */
	char error[CURL_ERROR_SIZE];
};

struct http_exchange {
	const struct http_request *req;
	struct http_response *resp;
	struct http_handle *handle;
	const char *ca_file; /* NULL: the system's */
	const atomic_bool *cancelled;
	/* State of the callbacks. */
	size_t capacity;
	size_t header_bytes;
	int failure; /* why a callback stopped the transfer */
	bool body_started;
	int64_t last_progress_ms;
	curl_off_t last_bytes;
};

/* Runs the request of x on its handle. Errors as http.h. */
int http_exchange_run(struct http_exchange *x, struct error *err);
/* While set in a thread, libcurl's memory is wiped before that thread frees it. */
void http_wipe_on_free(bool on);
/* Once a process; 0 or -EIO. */
int http_global_init(void);

#endif
