/* Diagnosis of the way to AWS. Job: one plain request, timed. Trusts no answer: only its status and
 * date are read. */
#include "fs/aws/reach.h"

#include "crypto/base/clock.h"
#include "fs/aws/aws_internal.h"
#include "fs/aws/key_chain.h"
#include "fs/aws/peers.h"
#include "fs/net/dates.h"

#include <string.h>
#include <time.h>

#define TIMEOUT_MS 30000
#define RETRY_WAIT_MS 100
#define BODY_MAX ((size_t)1 << 20)

static int ask(struct aws *a, const struct http_request *req, unsigned attempts,
	       struct aws_reach *ret, int *ret_status, struct error *err)
{
	_cleanup_http_response_ struct http_response resp = {0};
	uint64_t began = monotonic_ms();
	int r = http_perform_repeatedly(a->http, req, attempts, RETRY_WAIT_MS, &resp, err);
	const char *date;
	int64_t then;

	*ret = (struct aws_reach){.answer_ms = (unsigned)(monotonic_ms() - began)};
	(void)snprintf(ret->url, sizeof(ret->url), "%s", req->url);
	if (r < 0)
		return r;
	date = http_response_header(&resp, "date");
	if (date && date_parse_http(date, &then) == 0)
		ret->clock_ahead_s = then - (int64_t)time(NULL);
	*ret_status = resp.status;
	return 0;
}

int aws_reach(struct aws *a, enum aws_service service, struct aws_reach *ret, struct error *err)
{
	_cleanup_free_ char *base = NULL, *url = NULL;
	struct http_request req = {.method = "GET",
				   .body_max = BODY_MAX,
				   .total_timeout_ms = TIMEOUT_MS,
				   .fresh_connection = true};
	char region[ENDPOINT_REGION_MAX];
	const struct endpoint_params params = {.service = aws_service_name(service),
					       .region = region,
					       .override = a->config.endpoints[service],
					       .fips = a->config.fips,
					       .dualstack = a->config.dualstack};
	int r = aws_default_region(a, region, err), status;

	if (r == 0)
		r = endpoint_url(&params, &base);
	if (r < 0)
		return r;
	if (asprintf(&url, "%s/", base) < 0) {
		url = NULL;
		return -ENOMEM;
	}
	req.url = url;
	return ask(a, &req, 1, ret, &status, err);
}

int aws_reach_metadata(struct aws *a, struct aws_reach *ret, struct error *err)
{
	const struct http_header ttl = {"x-aws-ec2-metadata-token-ttl-seconds", "60"};
	_cleanup_free_ char *url = NULL;
	struct http_request req = {.method = "PUT",
				   .headers = &ttl,
				   .header_count = 1,
				   .body_max = BODY_MAX,
				   .connect_timeout_ms = a->config.imds_timeout_ms,
				   .total_timeout_ms = 2 * a->config.imds_timeout_ms,
				   .peer = &aws_metadata_peer,
				   .secret_body = true};
	int r, status = 0;

	if (a->config.imds_disabled)
		return error_set(err, -EINVAL, "AWS_EC2_METADATA_DISABLED is set");
	if (asprintf(&url, "%s/latest/api/token", a->config.imds_endpoint) < 0) {
		url = NULL;
		return -ENOMEM;
	}
	req.url = url;
	r = ask(a, &req, a->config.imds_attempts, ret, &status, err);
	if (r == 0 && status != 200)
		return error_set(err, -EREMOTEIO, "%s: no token of IMDSv2 (%d)", url, status);
	return r;
}

int aws_region(struct aws *a, char ret[ENDPOINT_REGION_MAX], struct error *err)
{
	return aws_default_region(a, ret, err);
}

int aws_key_source(struct aws *a, const char **ret, bool *ret_lasting, struct error *err)
{
	_cleanup_(credentials_unrefp) struct credentials *keys = NULL;
	int r = credential_chain_get(a->chain, NULL, &keys, err);

	if (r < 0)
		return r;
	*ret = keys->source;
	*ret_lasting = keys->session_token == NULL && keys->expires_s == 0;
	return 0;
}

int64_t aws_clock_offset_s(const struct aws *a)
{
	return atomic_load(&a->caller.clock_offset_s);
}
