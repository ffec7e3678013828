/*
 * The shared AWS object: configuration, HTTP client, credentials. Job: build it without asking any
 * server, and find the default region late. Trusts the configuration.
 */
#include "fs/aws/aws.h"

#include "fs/aws/aws_internal.h"
#include "fs/aws/imds.h"
#include "fs/aws/key_chain.h"
#include "fs/net/text.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

static const char fallback_region[] = "us-east-1";

void aws_free(struct aws *a)
{
	if (!a)
		return;
	credential_chain_free(a->chain);
	imds_free(a->imds);
	http_client_free(a->http);
	aws_config_clear(&a->config);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

static int chain_keys(void *arg, const struct credentials *rejected, struct credentials **ret,
		      struct error *err)
{
	return credential_chain_get(arg, rejected, ret, err);
}

int aws_new(const struct aws_options *options, struct aws **ret, struct error *err)
{
	_cleanup_(aws_freep) struct aws *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return error_set(err, -ENOMEM, "out of memory for the AWS client");
	pthread_mutex_init(&a->lock, NULL);
	r = aws_config_load(options, &a->config, err);
	if (r < 0)
		return r;
	r = http_client_new(&a->http);
	if (r >= 0)
		http_client_allow_plain(a->http, &a->config.allow_http);
	if (r >= 0)
		r = http_client_set_routes(a->http, &options->net, err);
	if (r >= 0 && a->config.ca_file)
		r = http_client_set_ca_file(a->http, a->config.ca_file);
	if (r >= 0)
		r = imds_new(&a->config, a->http, &a->imds);
	if (r >= 0)
		r = credential_chain_new(&a->config, a->http, a->imds, &a->chain);
	if (r < 0)
		return error_set(err, r, "cannot set up the AWS client: %s", strerror(-r));
	a->caller.config = &a->config;
	a->caller.http = a->http;
	a->caller.keys = chain_keys;
	a->caller.keys_arg = a->chain;
	if (a->config.region)
		text_copy(a->region, sizeof(a->region), a->config.region);
	*ret = steal_ptr(a);
	return 0;
}

void aws_observe_retries(struct aws *a, aws_retry_observer *observe, void *arg)
{
	a->caller.observe = observe;
	a->caller.observe_arg = arg;
}

void aws_observe_silence(struct aws *a, http_silence_observer *observe, void *arg)
{
	http_client_observe_silence(a->http, observe, arg);
}

void aws_count(const struct aws *a, enum aws_service service, struct aws_counts *ret)
{
	const struct caller_counters *c = &a->caller.counters[service];

	*ret = (struct aws_counts){
		.requests = atomic_load_explicit(&c->requests, memory_order_relaxed),
		.retries = atomic_load_explicit(&c->retries, memory_order_relaxed),
		.slow_downs = atomic_load_explicit(&c->slow_downs, memory_order_relaxed),
		.failures = atomic_load_explicit(&c->failures, memory_order_relaxed),
	};
}

void aws_cancel(struct aws *a)
{
	http_client_cancel(a->http);
}

void aws_resume(struct aws *a)
{
	http_client_resume(a->http);
}

static bool has_custom_endpoint(const struct aws *aws)
{
	for (size_t i = 0; i < AWS_SERVICE_COUNT; i++)
		if (aws->config.endpoints[i])
			return true;
	return false;
}

int aws_default_region(struct aws *aws, char ret[ENDPOINT_REGION_MAX], struct error *err)
{
	_cleanup_free_ char *region = NULL;
	struct error why = {0};
	int r;

	pthread_mutex_lock(&aws->lock);
	memcpy(ret, aws->region, ENDPOINT_REGION_MAX);
	pthread_mutex_unlock(&aws->lock);
	if (ret[0])
		return 0;
	r = imds_region(aws->imds, &region, &why);
	/* Servers that are not AWS's care little about the region's name. */
	if (r < 0 && r != -ECANCELED && has_custom_endpoint(aws))
		region = strdup(fallback_region);
	if (!region) {
		error_hint(err, "set AWS_REGION, or region in ~/.aws/config");
		return error_set(err, r, "no AWS region is configured; %s", error_text(&why, r));
	}
	pthread_mutex_lock(&aws->lock);
	text_copy(aws->region, sizeof(aws->region), region);
	memcpy(ret, aws->region, ENDPOINT_REGION_MAX);
	pthread_mutex_unlock(&aws->lock);
	return 0;
}

int aws_partition(struct aws *a, const char **ret)
{
	char region[ENDPOINT_REGION_MAX] = "";
	int r = aws_default_region(a, region, NULL);

	if (r == -ECANCELED)
		return r;
	*ret = endpoint_partition(region);
	return 0;
}
