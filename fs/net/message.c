/*
 * Responses. Job: free them, wiped if they are secret, and find headers.
 */
#include "fs/net/message.h"

#include "crypto/base/secret.h"

#include <string.h>

void http_response_clear_headers(struct http_response *r)
{
	for (size_t i = 0; i < r->header_count; i++) {
		free(r->headers[i].name);
		free(r->headers[i].value);
	}
	r->header_count = 0;
}

void http_response_clear(struct http_response *r)
{
	if (r->body && r->secret_body)
		wipe(r->body, r->body_size);
	free(r->body);
	free(r->certificate);
	http_response_clear_headers(r);
	*r = (struct http_response){0};
}

const char *http_response_header(const struct http_response *r, const char *name)
{
	for (size_t i = 0; i < r->header_count; i++)
		if (strcmp(r->headers[i].name, name) == 0)
			return r->headers[i].value;
	return NULL;
}
