/*
 * http_internal.h: between http.c (the pool and the public calls), http_exchange.c (one exchange on
 * one libcurl handle), http_options.c and http_memory.c. No other file includes it.
 */
#ifndef SEALEDFS_NET_HTTP_INTERNAL_H
#define SEALEDFS_NET_HTTP_INTERNAL_H

#include "crypto/base/error.h"
#include "fs/net/message.h"
#include "fs/net/relay.h"

#include <curl/curl.h>
#include <stdatomic.h>

#define HTTP_ORIGIN_MAX 272 /* scheme://host:port of the longest host name */

struct http_handle {
	struct http_handle *next;
	CURL *curl;
	char origin[HTTP_ORIGIN_MAX]; /* last one used: where its open connection leads */
	char error[CURL_ERROR_SIZE];
};

struct http_silence {
	http_silence_observer *observe; /* may be NULL */
	void *arg;
};

struct http_exchange {
	const struct http_request *req;
	struct http_response *resp;
	struct http_handle *handle;
	enum transport transport;
	const char *ca_file; /* NULL: the system's */
	const atomic_bool *cancelled;
	const struct http_silence *silence;
	struct relay *relay;		 /* NULL: connect directly */
	char authority[HTTP_ORIGIN_MAX]; /* with relay: HOST:PORT */
	/* State of the callbacks. */
	size_t capacity;
	size_t header_bytes;
	int failure; /* why a callback stopped the transfer */
	bool body_started;
	uint64_t last_progress_ms;
	unsigned silent_s; /* last reported to the observer */
	curl_off_t last_bytes;
};

/* Runs the request of x on its handle. Errors as http.h. */
int http_exchange_run(struct http_exchange *x, struct error *err);
/* Headers for CURLOPT_HTTPHEADER; the caller frees *list also after an error. -EINVAL, -ENOMEM. */
int http_build_headers(const struct http_request *req, struct curl_slist **list);
/* All options but the callbacks. */
CURLcode http_set_options(struct http_exchange *x, struct curl_slist *headers);
/* While set in a thread, libcurl's memory is wiped before that thread frees it. */
void http_wipe_on_free(bool on);
/* Once a process; 0 or -EIO. */
int http_global_init(void);

/* Sets an option of c unless rc has an error. */
#define SET(option, value)                                       \
	do {                                                     \
		if (rc == CURLE_OK)                              \
			rc = curl_easy_setopt(c, option, value); \
	} while (0)

#endif
