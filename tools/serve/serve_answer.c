/*
 * Answers of the evidence endpoint. Job: decide which caller gets one, and make it. Trusts no
 * caller. Must never ask the TPM for two callers at once, nor answer one with what was made for
 * another.
 */
#include "tools/serve/serve_answer.h"

#include "crypto/base/clock.h"
#include "crypto/base/encode.h"
#include "crypto/base/json.h"
#include "crypto/base/log.h"
#include "tools/evidence/bind_key.h"
#include "tools/serve/serve_limits.h"
#include "tools/verify/expectations.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#define TURN_S 10 /* what a caller waits for its turn */
#define LOG_PAUSE_MS 10000

enum {
	OK = 200,
	BAD_REQUEST = 400,
	FORBIDDEN = 403,
	NOT_FOUND = 404,
	TOO_MANY = 429,
	UNAVAILABLE = 503,
};

struct serve_site {
	struct serve_site_options options;
	struct evidence_maker *maker;
	struct expectations policy; /* of callers; only with options.require */
	pthread_mutex_t turn;	    /* held by the one caller for whom something is done */
	pthread_mutex_t lock; /* guards what follows; never held while anything is waited for */
	struct serve_rate rate;
	struct serve_nonces nonces;
	uint64_t logged_ms;
};

static int read_policy(struct serve_site *s, struct error *err)
{
	struct verdict_request *req = &s->policy.req;
	int r = expect_policy(&s->policy, s->options.require, err);

	if (!req->has_max_age) {
		req->has_max_age = true;
		req->max_age_s = VERDICT_MAX_AGE_S;
	}
	return r;
}

int serve_site_new(const struct serve_site_options *options, struct serve_site **ret,
		   struct error *err)
{
	_cleanup_(serve_site_freep) struct serve_site *s = calloc(1, sizeof(*s));
	uint8_t key[32];
	uint64_t seed;
	int r;

	if (!s)
		return -ENOMEM;
	s->options = *options;
	pthread_mutex_init(&s->turn, NULL);
	pthread_mutex_init(&s->lock, NULL);
	r = expectations_init(&s->policy, options->cli, err);
	if (r == 0 && options->require)
		r = read_policy(s, err);
	if (r == 0 && options->bind_cert)
		r = bind_key_read(options->bind_cert, key, err);
	if (r == 0)
		r = evidence_maker_new(&options->evidence, &s->maker, err);
	if (r == 0)
		r = serve_nonces_init(&s->nonces);
	if (r < 0)
		return r;
	memcpy(&seed, s->nonces.key, sizeof(seed));
	serve_rate_init(&s->rate, options->rate_per_minute, seed);
	*ret = steal_ptr(s);
	return 0;
}

void serve_site_free(struct serve_site *s)
{
	if (!s)
		return;
	evidence_maker_free(s->maker);
	expectations_clear(&s->policy);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->turn);
	free(s);
}

const struct evidence_maker *serve_site_maker(const struct serve_site *s)
{
	return s->maker;
}

static void set_json(unsigned status, json_t *value, struct serve_answer *ret)
{
	FILE *to;

	ret->status = status;
	ret->type = "application/json";
	to = value ? open_memstream(&ret->body, &ret->size) : NULL;
	if (to)
		(void)json_print(value, to);
	if (to && fclose(to) != 0)
		free(steal_ptr(ret->body));
	json_decref(value);
}

void serve_refuse(unsigned status, const char *why, struct serve_answer *ret)
{
	*ret = (struct serve_answer){0};
	set_json(status, json_pack("{s:o}", "error", json_outside_text(why)), ret);
}

static void refuse_later(unsigned status, const char *why, unsigned after_s,
			 struct serve_answer *ret)
{
	serve_refuse(status, why, ret);
	ret->retry_after_s = after_s;
}

/* The caller learns that it failed, the log why. */
static void fail(struct serve_site *s, const char *what, int code, const struct error *err,
		 struct serve_answer *ret)
{
	uint64_t now_ms = monotonic_ms();
	bool may_log;

	pthread_mutex_lock(&s->lock);
	may_log = s->logged_ms == 0 || now_ms - s->logged_ms >= LOG_PAUSE_MS;
	if (may_log)
		s->logged_ms = now_ms;
	pthread_mutex_unlock(&s->lock);
	if (may_log)
		log_error_object(LOG_ERR, err, code, what);
	refuse_later(UNAVAILABLE, what, 1, ret);
}

static unsigned take_rate(struct serve_site *s, const struct serve_caller *caller)
{
	unsigned after_s;

	pthread_mutex_lock(&s->lock);
	after_s = serve_rate_take(&s->rate, caller->address, caller->size, monotonic_ms());
	pthread_mutex_unlock(&s->lock);
	return after_s;
}

static bool take_turn(struct serve_site *s)
{
	struct timespec end;

	(void)clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += TURN_S;
	return pthread_mutex_clocklock(&s->turn, CLOCK_MONOTONIC, &end) == 0;
}

/* The nonce that the document carries is good once. */
static int use_nonce(struct serve_site *s, const struct presented *evidence,
		     uint8_t nonce[SERVE_OWN_NONCE_SIZE], struct error *err)
{
	_cleanup_(document_freep) struct attest_doc *document = NULL;
	int r = document_parse(evidence->document.data, evidence->document.size, &document, err);

	if (r < 0)
		return r;
	pthread_mutex_lock(&s->lock);
	r = serve_nonce_use(&s->nonces, monotonic_ms(), document->nonce.data, document->nonce.size,
			    err);
	pthread_mutex_unlock(&s->lock);
	if (r == 0)
		memcpy(nonce, document->nonce.data, SERVE_OWN_NONCE_SIZE);
	return r;
}

/*
 * A caller's evidence by the policy. With a certificate bound, the caller's document must name the
 * key that he met: then nobody stands between. -EKEYREJECTED with the sentence.
 */
static int judge_caller(struct serve_site *s, const json_t *presented, struct error *err)
{
	_cleanup_presented_ struct presented evidence = {0};
	_cleanup_(verdict_freep) struct verdict *verdict = NULL;
	uint8_t nonce[SERVE_OWN_NONCE_SIZE], key[32];
	struct occasion when = {.time_s = clock_now_s(), .nonce = {nonce, sizeof(nonce)}};
	int r = presented_take(presented, &evidence, err);

	if (r == 0)
		r = use_nonce(s, &evidence, nonce, err);
	if (r == 0 && s->options.bind_cert) {
		r = bind_key_read(s->options.bind_cert, key, err);
		when.tls_key = key;
	}
	if (r == 0)
		r = expectations_judge(&s->policy, &evidence, &when, &verdict, err);
	if (r == 0 && !verdict_ok(verdict))
		r = error_set(err, -EKEYREJECTED, "%s", verdict->sentence);
	return r;
}

/* False: the caller was refused, with a reason. */
static bool admit(struct serve_site *s, const void *body, size_t size, struct serve_nonce *ret,
		  struct serve_answer *answer)
{
	_cleanup_json_ json_t *evidence = NULL;
	struct error err = {0};
	int r = serve_body_parse(body, size, ret, &evidence, &err);

	if (r == 0)
		r = judge_caller(s, evidence, &err);
	if (r == -EPROTO)
		serve_refuse(BAD_REQUEST, error_text(&err, r), answer);
	else if (r == -EKEYREJECTED)
		serve_refuse(FORBIDDEN, error_text(&err, r), answer);
	else if (r == -EBUSY)
		refuse_later(TOO_MANY, error_text(&err, r), 1, answer);
	else if (r < 0)
		fail(s, "callers cannot be judged now", r, &err, answer);
	return r == 0;
}

/* Under the turn. */
static void answer_evidence(struct serve_site *s, const struct serve_nonce *nonce,
			    struct serve_answer *ret)
{
	struct attest_request request = {.nonce = nonce->bytes, .nonce_size = nonce->size};
	char text[BIND_TEXT_SIZE];
	struct error err = {0};
	uint8_t key[32];
	int r = 0;

	if (s->options.bind_cert) {
		r = bind_key_read(s->options.bind_cert, key, &err);
		bind_text(key, text);
		request.user_data = (const uint8_t *)text;
		request.user_data_size = sizeof(text) - 1;
	}
	if (r == 0)
		r = evidence_make(s->maker, &request, &ret->body, &ret->size, &err);
	if (r < 0) {
		fail(s, "this machine cannot attest now", r, &err, ret);
		return;
	}
	ret->status = OK;
	ret->type = "application/json";
}

static void answer_mounts(struct serve_site *s, bool text, struct serve_answer *ret)
{
	json_t *mounts;

	if (text) {
		ret->status = OK;
		ret->type = "text/plain; charset=utf-8";
		(void)evidence_text(s->maker, &ret->body, &ret->size);
		return;
	}
	mounts = evidence_mounts(s->maker);
	set_json(OK, mounts ? json_pack("{s:o}", "mounts", mounts) : NULL, ret);
}

static void answer_nonce(struct serve_site *s, struct serve_answer *ret)
{
	uint8_t nonce[SERVE_OWN_NONCE_SIZE];
	char hex[2 * SERVE_OWN_NONCE_SIZE + 1];
	struct error err = {0};
	int r = serve_nonce_make(&s->nonces, monotonic_ms(), nonce);

	if (r < 0) {
		fail(s, "there is no nonce", r, &err, ret);
		return;
	}
	hex_encode(nonce, sizeof(nonce), hex);
	set_json(OK, json_pack("{s:s}", "nonce", hex), ret);
}

/* What needs neither the TPM nor a mount. True: it was that. */
static bool answer_at_once(struct serve_site *s, const struct serve_request *request,
			   struct serve_answer *ret)
{
	bool mutual = request->what == SERVE_NONCE || request->what == SERVE_PRESENT;

	if (!s->options.require && mutual) {
		serve_refuse(NOT_FOUND,
			     "this server asks its callers for no evidence: GET /v1/evidence", ret);
		return true;
	}
	if (s->options.require && !mutual) {
		serve_refuse(FORBIDDEN,
			     "this server answers only callers that present evidence of their own: "
			     "GET /v1/nonce, then POST /v1/evidence",
			     ret);
		return true;
	}
	if (request->what == SERVE_NONCE)
		answer_nonce(s, ret);
	return request->what == SERVE_NONCE;
}

void serve_answer(struct serve_site *s, const struct serve_request *request,
		  const struct serve_caller *caller, const void *body, size_t size,
		  struct serve_answer *ret)
{
	struct serve_nonce presented;
	unsigned after_s;

	*ret = (struct serve_answer){0};
	if (answer_at_once(s, request, ret))
		return;
	after_s = take_rate(s, caller);
	if (after_s > 0) {
		refuse_later(TOO_MANY, "too many requests", after_s, ret);
		return;
	}
	if (!take_turn(s)) {
		refuse_later(UNAVAILABLE, "other callers are being answered", 1, ret);
		return;
	}
	if (request->what == SERVE_EVIDENCE)
		answer_evidence(s, &request->nonce, ret);
	else if (request->what != SERVE_PRESENT)
		answer_mounts(s, request->what == SERVE_TEXT, ret);
	else if (admit(s, body, size, &presented, ret))
		answer_evidence(s, &presented, ret);
	pthread_mutex_unlock(&s->turn);
}
