/*
 * Credentials: the chain of sources and the cache in front of it. Job: always have keys to sign
 * with, use a source from one thread at a time, and tolerate a source that is down. Trusts its
 * sources. Must never make more than one request wait for a renewal while the current keys still
 * work, and never put a key into a message.
 */
#include "fs/aws/key_chain.h"

#include "crypto/base/clock.h"
#include "crypto/base/log.h"
#include "fs/aws/container.h"
#include "fs/aws/imds.h"
#include "fs/aws/profile_keys.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

#define RENEW_BEFORE_S ((int64_t)15 * 60)
/* After a renewal that did not help: botocore waits 10 minutes and some more. Ours is shorter where
 * nothing was learned, so that a source that comes back is used soon. */
#define RETRY_AFTER_FAILURE_S 60
#define RETRY_AFTER_STALE_S 600
#define RETRY_SPREAD_S 120
/* If keys are refused and the source has no others, it is not used for this long. */
#define FUTILE_MS 5000

struct credential_chain {
	const struct aws_config *config;
	struct http_client *http;
	struct imds *imds;
	pthread_mutex_t lock;
	pthread_cond_t renewed;
	/* Guarded by lock. */
	struct credentials *current;
	bool renewing;
	int64_t renew_at_s;	  /* not before */
	uint64_t futile_until_ms; /* monotonic; until then refused keys are not renewed */
	unsigned generation;	  /* counts renewals, good or bad */
	struct error last_error;  /* of the last renewal */
};

/* Asks each source in order; -ENOENT of one means that the next has its turn. */
static int ask_sources(const struct credential_chain *chain, struct credentials **ret,
		       struct error *err)
{
	const struct aws_config *config = chain->config;
	const struct sts sts = {.config = config, .http = chain->http, .imds = chain->imds};
	int r = -ENOENT;

	if (!config->profile_explicit)
		r = environment_keys(ret, err);
	if (r == -ENOENT)
		r = profile_keys(&sts, config->profile, ret, err);
	if (r != -ENOENT)
		return r;
	if (container_configured())
		return container_credentials(chain->http, ret, err);
	if (chain->imds && !config->imds_disabled) {
		r = imds_credentials(chain->imds, ret, err);
		if (r == 0)
			return 0;
	}
	error_hint(err,
		   "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or attach "
		   "an IAM role to the instance");
	if (r == -ENOENT)
		r = -EINVAL;
	if (err && !err->message[0])
		return error_set(err, r, "no AWS credentials in the environment or profile %s",
				 config->profile);
	return error_prefix(err, r, "no AWS credentials in the environment or profile %s",
			    config->profile);
}

int credential_chain_new(const struct aws_config *config, struct http_client *http,
			 struct imds *imds, struct credential_chain **ret)
{
	struct credential_chain *chain = calloc(1, sizeof(*chain));

	if (!chain)
		return -ENOMEM;
	chain->config = config;
	chain->http = http;
	chain->imds = imds;
	pthread_mutex_init(&chain->lock, NULL);
	pthread_cond_init(&chain->renewed, NULL);
	*ret = chain;
	return 0;
}

void credential_chain_free(struct credential_chain *chain)
{
	if (!chain)
		return;
	credentials_unref(chain->current);
	pthread_cond_destroy(&chain->renewed);
	pthread_mutex_destroy(&chain->lock);
	free(chain);
}

static int64_t spread_s(void)
{
	uint32_t r = 0;

	if (getrandom(&r, sizeof(r), GRND_NONBLOCK) != (ssize_t)sizeof(r))
		return RETRY_SPREAD_S;
	return r % RETRY_SPREAD_S;
}

/* Called with the lock held; puts what a renewal brought (NULL: nothing) in its place. */
static void store(struct credential_chain *chain, struct credentials *fresh)
{
	int64_t now_s = clock_now_s();

	if (!fresh) {
		chain->renew_at_s = now_s + RETRY_AFTER_FAILURE_S + spread_s();
		return;
	}
	credentials_unref(chain->current);
	chain->current = fresh;
	if (fresh->expires_s == 0)
		chain->renew_at_s = INT64_MAX;
	else if (fresh->expires_s <= now_s + RENEW_BEFORE_S)
		chain->renew_at_s = now_s + (fresh->expires_s <= now_s
						     ? RETRY_AFTER_STALE_S + spread_s()
						     : MIN(RETRY_AFTER_FAILURE_S,
							   (fresh->expires_s - now_s + 1) / 2));
	else
		chain->renew_at_s = fresh->expires_s - RENEW_BEFORE_S;
	log_debug("AWS keys from %s", fresh->source);
}

/* Called with the lock held, which it releases while it uses the sources. */
static void renew(struct credential_chain *chain)
{
	struct credentials *fresh = NULL;
	struct error last = {0};
	int r;

	chain->renewing = true;
	pthread_mutex_unlock(&chain->lock);
	r = ask_sources(chain, &fresh, &last);
	pthread_mutex_lock(&chain->lock);
	if (r < 0 && !last.code)
		last.code = r;
	chain->last_error = last;
	chain->renewing = false;
	chain->generation++;
	store(chain, fresh);
	pthread_cond_broadcast(&chain->renewed);
}

/* Called with the lock held. The first caller uses the sources, the others wait for it. */
static void renew_now(struct credential_chain *chain, const struct credentials *rejected)
{
	unsigned generation = chain->generation;

	if (!chain->renewing)
		renew(chain);
	while (chain->generation == generation)
		pthread_cond_wait(&chain->renewed, &chain->lock);
	if (rejected && chain->current && credentials_same(rejected, chain->current))
		chain->futile_until_ms = monotonic_ms() + FUTILE_MS;
}

int credential_chain_get(struct credential_chain *chain, const struct credentials *rejected,
			 struct credentials **ret, struct error *err)
{
	struct credentials *found = NULL;
	struct error last;

	pthread_mutex_lock(&chain->lock);
	if (!chain->current)
		renew_now(chain, NULL);
	else if (rejected && credentials_same(rejected, chain->current) &&
		 monotonic_ms() >= chain->futile_until_ms)
		renew_now(chain, rejected);
	else if (!rejected && !chain->renewing && clock_now_s() >= chain->renew_at_s)
		renew(chain);
	last = chain->last_error;
	if (chain->current)
		found = credentials_ref(chain->current);
	pthread_mutex_unlock(&chain->lock);
	if (found) {
		*ret = found;
		return 0;
	}
	if (err && !err->code)
		*err = last;
	return last.code;
}
