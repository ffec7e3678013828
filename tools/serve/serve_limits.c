/*
 * Rate and nonces. Job: bound what callers can make this machine do, in memory that is fixed.
 * Trusts the clock. Must never let a nonce be used twice, or without having been given out.
 */
#include "tools/serve/serve_limits.h"

#include "crypto/base/cursor.h"
#include "crypto/kdf.h"

#include <openssl/crypto.h>
#include <string.h>
#include <sys/random.h>

#define MINUTE_US UINT64_C(60000000)
#define BURST_US UINT64_C(10000000)
#define SECOND_US UINT64_C(1000000)

#define TIME_SIZE 8
#define RANDOM_SIZE 8
#define MAC_AT (TIME_SIZE + RANDOM_SIZE)
#define MAC_SIZE (SERVE_OWN_NONCE_SIZE - MAC_AT)

void serve_rate_init(struct serve_rate *r, unsigned per_minute, uint64_t seed)
{
	*r = (struct serve_rate){.interval_us = MINUTE_US / MAX(per_minute, 1U), .seed = seed};
}

/* How long until one more answer fits; paid_us: until when the earlier ones are paid for. */
static uint64_t wait_us(uint64_t paid_us, uint64_t now_us, uint64_t interval_us)
{
	uint64_t burst_us = MAX(BURST_US, interval_us),
		 next_us = MAX(paid_us, now_us) + interval_us;

	return next_us > now_us + burst_us ? next_us - now_us - burst_us : 0;
}

static size_t place_of(const struct serve_rate *r, const uint8_t *caller, size_t size)
{
	uint64_t hash = r->seed ^ UINT64_C(0xcbf29ce484222325); /* FNV-1a */

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ caller[i]) * UINT64_C(0x100000001b3);
	return (size_t)((hash >> 32) % SERVE_CALLERS);
}

unsigned serve_rate_take(struct serve_rate *r, const void *caller, size_t size, uint64_t now_ms)
{
	uint64_t now_us = now_ms * 1000, half_us = 2 * r->interval_us, wait;
	uint64_t *own_us = size ? &r->caller_us[place_of(r, caller, size)] : NULL;

	wait = wait_us(r->all_us, now_us, r->interval_us);
	if (own_us)
		wait = MAX(wait, wait_us(*own_us, now_us, half_us));
	if (wait > 0)
		return (unsigned)((wait + SECOND_US - 1) / SECOND_US);
	r->all_us = MAX(r->all_us, now_us) + r->interval_us;
	if (own_us)
		*own_us = MAX(*own_us, now_us) + half_us;
	return 0;
}

static int fill_random(void *out, size_t size)
{
	return getrandom(out, size, 0) == (ssize_t)size ? 0 : -EIO;
}

int serve_nonces_init(struct serve_nonces *n)
{
	*n = (struct serve_nonces){0};
	return fill_random(n->key, sizeof(n->key));
}

static int mac_of(const struct serve_nonces *n, const uint8_t *nonce, uint8_t out[SHA256_SIZE])
{
	struct kdf_bytes part = {nonce, MAC_AT};

	return kdf_hmac_sha256((struct kdf_bytes){n->key, sizeof(n->key)}, &part, 1, out);
}

int serve_nonce_make(struct serve_nonces *n, uint64_t now_ms, uint8_t out[SERVE_OWN_NONCE_SIZE])
{
	uint8_t mac[SHA256_SIZE];
	int r;

	put_be64(out, now_ms);
	r = fill_random(out + TIME_SIZE, RANDOM_SIZE);
	if (r == 0)
		r = mac_of(n, out, mac);
	if (r == 0)
		memcpy(out + MAC_AT, mac, MAC_SIZE);
	return r;
}

static uint64_t time_of(const uint8_t *nonce)
{
	uint64_t v = 0;

	for (size_t i = 0; i < TIME_SIZE; i++)
		v = v << 8 | nonce[i];
	return v;
}

/* It was given out and is still good; whether it was used is another question. */
static bool is_good(const struct serve_nonces *n, uint64_t now_ms, const uint8_t *nonce,
		    size_t size)
{
	uint8_t mac[SHA256_SIZE];

	if (size != SERVE_OWN_NONCE_SIZE || mac_of(n, nonce, mac) < 0 ||
	    CRYPTO_memcmp(mac, nonce + MAC_AT, MAC_SIZE) != 0)
		return false;
	return now_ms - time_of(nonce) < SERVE_OWN_NONCE_MS;
}

int serve_nonce_use(struct serve_nonces *n, uint64_t now_ms, const uint8_t *nonce, size_t size,
		    struct error *err)
{
	size_t place = SERVE_USED_MAX;
	bool used = false;

	if (!is_good(n, now_ms, nonce, size)) {
		error_hint(err, "GET /v1/nonce gives one that is good for a minute");
		return error_set(err, -EKEYREJECTED,
				 "the document carries no nonce that this server gave out within "
				 "the last minute");
	}
	for (size_t i = 0; i < SERVE_USED_MAX; i++) {
		if (n->used[i].end_ms <= now_ms)
			place = i;
		else
			used |= memcmp(n->used[i].nonce, nonce, size) == 0;
	}
	if (used)
		return error_set(err, -EKEYREJECTED, "the nonce was used before");
	if (place == SERVE_USED_MAX)
		return error_set(err, -EBUSY, "too many callers");
	memcpy(n->used[place].nonce, nonce, size);
	n->used[place].end_ms = time_of(nonce) + SERVE_OWN_NONCE_MS;
	return 0;
}
