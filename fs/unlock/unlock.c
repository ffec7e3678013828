/*
 * Unlocking. Job: find the slot that can be opened with what is at hand, cheapest first, and say
 * clearly why none could. Trusts no slot: whatever a recipient returns must fit the seal's
 * commitment, and a slot does not decide whom we ask. Must never log or keep a data key, nor send
 * an attested request to a key that the user did not mean.
 */
#include "fs/unlock/unlock.h"

#include "crypto/base/log.h"
#include "crypto/failure.h"
#include "fs/unlock/denial.h"
#include "fs/unlock/kms_recipient.h"
#include "fs/unlock/unlock_internal.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#define SECURE_HEAP_SIZE ((size_t)256 * 1024) /* for the RSA keys of a few unlocks at once */
#define SECURE_HEAP_MIN 32
/* Second and later attempts for refused models: at most this many at once, then one per interval.
 */
#define REPEATS_MAX 8
/* The same for the second to fourth KMS key of a seal: 16 models at a time may need three each. */
#define FURTHER_MAX 48
#define TOKEN_EVERY_S 5

/* OpenSSL then keeps the private parts of RSA keys in locked pages that are not dumped. */
static void make_secure_heap(void)
{
	if (CRYPTO_secure_malloc_init(SECURE_HEAP_SIZE, SECURE_HEAP_MIN) == 0)
		log_debug("no locked memory for RSA keys");
}

int unlock_new(const struct unlock_options *options, struct unlock **ret, struct error *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	_cleanup_(unlock_freep) struct unlock *u = calloc(1, sizeof(*u));
	int r;

	(void)pthread_once(&once, make_secure_heap);
	if (!u)
		return error_set(err, -ENOMEM, "out of memory");
	u->aws = options->aws;
	r = denial_new(options->kms_policy, &u->denial, err);
	if (r < 0)
		return r;
	if (options->provider &&
	    kms_recipients_new(options->provider, u->denial, &u->recipients) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	u->use_tpm = options->use_tpm;
	u->tpm = options->tpm;
	u->pins = options->kms_pins;
	u->pin_count = options->kms_pin_count;
	u->repeats = (struct tokens){REPEATS_MAX, REPEATS_MAX, 0};
	u->further = (struct tokens){FURTHER_MAX, FURTHER_MAX, 0};
	pthread_mutex_init(&u->lock, NULL);
	u->keyfiles = calloc(options->keyfile_count + 1, sizeof(struct keyfile *));
	if (!u->keyfiles)
		return error_set(err, -ENOMEM, "out of memory");
	for (size_t n = 0; n < options->keyfile_count; n++) {
		int e = keyfile_load(options->keyfiles[n], &u->keyfiles[n], err);

		if (e < 0)
			return e;
		u->keyfile_count++;
	}
	*ret = steal_ptr(u);
	return 0;
}

void unlock_free(struct unlock *u)
{
	if (!u)
		return;
	for (size_t n = 0; n < u->keyfile_count; n++)
		keyfile_free(u->keyfiles[n]);
	free(u->keyfiles);
	for (size_t n = 0; n < u->set_count; n++)
		set_keys_free(u->sets[n]);
	free(u->sets);
	pthread_mutex_destroy(&u->lock);
	kms_recipients_free(u->recipients);
	denial_free(u->denial);
	free(u);
}

/* Of several failures: evidence of tampering, then what a retry may cure, then a refusal. */
static int weight(int code)
{
	switch (code) {
	case -EBADMSG:
	case -EPROTO:
		return 5;
	case -ENOKEY: /* a TPM, but not the one that is meant, */
	case -ENODEV: /* or none */
		return 1;
	case -EKEYREJECTED:
		return 2;
	default:
		return error_exit_code(code) == EXIT_CODE_UNREACHABLE ? 4 : 3;
	}
}

void attempt_failed(struct attempt *a, const struct error *err, int code)
{
	struct error one = *err;

	error_set(&one, code, "%s", strerror(-code));
	log_debug("%s: %s", a->name, one.message);
	if (a->worst.code == 0 || weight(one.code) > weight(a->worst.code))
		a->worst = one;
}

int attempt_take(struct attempt *a, struct secret *key, const char *where, struct secret **ret,
		 struct error *err)
{
	if (a->seal ? seal_key_fits(a->seal, key) : set_key_fits(a->set, key)) {
		*ret = key;
		return 0;
	}
	secret_free(key);
	error_hint(err, "the seal's slots were altered, or it was put together from two seals");
	return seal_fail(err, SEAL_WRONG_KEY, a->name, "%s holds a key that is not this %s's",
			 where, a->seal ? "seal" : "set");
}

bool unlock_take_token(struct unlock *u, struct tokens *t)
{
	struct timespec now;
	bool may;

	clock_gettime(CLOCK_MONOTONIC, &now);
	pthread_mutex_lock(&u->lock);
	if (now.tv_sec - t->counted_s >= TOKEN_EVERY_S) {
		time_t gained = (now.tv_sec - t->counted_s) / TOKEN_EVERY_S;

		t->left = (unsigned)MIN((time_t)t->max, (time_t)t->left + gained);
		t->counted_s = now.tv_sec;
	}
	may = t->left > 0;
	t->left -= may;
	pthread_mutex_unlock(&u->lock);
	return may;
}

void unlock_return_tokens(struct unlock *u, struct tokens *t, unsigned count)
{
	pthread_mutex_lock(&u->lock);
	t->left = MIN(t->max, t->left + count);
	pthread_mutex_unlock(&u->lock);
}

static int none_asked(const struct attempt *a, struct error *err)
{
	seal_fail(err, SEAL_NO_RECIPIENT, a->name, "%u of its KMS keys were not asked: %s",
		  a->passed_over, a->not_asked);
	error_hint(err, "name the key that is meant with the option kms-key");
	return -ENOKEY;
}

/* -ENOKEY: no slot of a set that is open. */
static int try_sets(struct attempt *a, struct secret **ret)
{
	const struct sealed_head *h = a->head;
	struct secret *key = NULL;
	struct error err = {0};
	int e = -ENOKEY;

	pthread_mutex_lock(&a->u->lock);
	for (unsigned n = 0; e == -ENOKEY && n < h->slot_count; n++)
		for (size_t i = 0; e == -ENOKEY && i < a->u->set_count; i++)
			e = slot_open_set(&h->slots[n], a->u->sets[i], a->id, &key);
	pthread_mutex_unlock(&a->u->lock);
	if (e == -ENOKEY)
		return e;
	a->tried++;
	if (e == 0)
		e = attempt_take(a, key, "the slot of the set", ret, &err);
	else if (e == -EBADMSG)
		e = seal_fail(&err, SEAL_WRONG_KEY, a->name,
			      "the slot of the set was not wrapped for this file");
	else
		error_set(&err, e, "%s: the slot of the set: %s", a->name, strerror(-e));
	if (e == 0)
		return 0;
	attempt_failed(a, &err, e);
	return -ENOKEY;
}

static int run_attempt(struct attempt *a, struct secret **ret, struct error *err)
{
	int r;

	if (try_sets(a, ret) == 0)
		return 0;
	if (attempt_keyfiles(a, ret) == 0 || attempt_tpm(a, ret) == 0)
		return 0;
	r = attempt_kms(a, ret, err);
	if (r != -ENOKEY)
		return r;
	if (a->tried > 0)
		return attempt_report(a, err);
	return a->passed_over > 0 ? none_asked(a, err) : unlock_no_means(a->head, a->name, err);
}

int unlock_data_key(struct unlock *u, const struct seal *seal, const char *name,
		    struct secret **ret, struct error *err)
{
	struct attempt a = {.u = u,
			    .head = seal_head(seal),
			    .id = seal_core(seal)->file_id,
			    .seal = seal,
			    .name = name};

	return run_attempt(&a, ret, err);
}

int unlock_set_key(struct unlock *u, const struct set *set, const char *name, struct secret **ret,
		   struct error *err)
{
	struct attempt a = {
		.u = u, .head = set_head(set), .id = set_header(set)->id, .set = set, .name = name};

	return run_attempt(&a, ret, err);
}

int unlock_add_set(struct unlock *u, struct set_keys *keys)
{
	struct set_keys **more;
	int r = 0;

	pthread_mutex_lock(&u->lock);
	for (size_t i = 0; i < u->set_count; i++)
		if (memcmp(set_keys_id(u->sets[i]), set_keys_id(keys), SET_ID_SIZE) == 0) {
			set_keys_free(u->sets[i]);
			u->sets[i] = keys;
			goto out;
		}
	more = reallocarray(u->sets, u->set_count + 1, sizeof(struct set_keys *));
	if (more) {
		u->sets = more;
		more[u->set_count++] = keys;
	} else {
		r = -ENOMEM;
	}
out:
	pthread_mutex_unlock(&u->lock);
	return r;
}

void unlock_batch_begin(struct unlock *u)
{
	if (u->recipients)
		kms_recipients_share_begin(u->recipients);
}

void unlock_batch_end(struct unlock *u)
{
	if (u->recipients)
		kms_recipients_share_end(u->recipients);
}

bool unlock_may_repeat(struct unlock *u)
{
	return unlock_take_token(u, &u->repeats);
}
