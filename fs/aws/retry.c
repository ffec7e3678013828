/*
 * Retrying. Job: full-jitter back-off within a number of attempts and a deadline, and the tables
 * of retryable failures. Trusts a server's Retry-After only up to the cap. Must never retry a
 * failure that another attempt cannot change.
 */
#include "fs/aws/retry.h"

#include "crypto/base/cleanup.h"
#include "crypto/base/clock.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#define BACKOFF_BASE_MS 100
#define BACKOFF_THROTTLED_BASE_MS 1000
#define BACKOFF_CAP_MS 20000
/* Refused connections, unknown names: enough to wait for a restart, but not for an outage. TLS
 * failures and answers that are not HTTP are rarely temporary. */
#define UNREACHABLE_ATTEMPTS 8
#define HOPELESS_ATTEMPTS 3

enum retry_class retry_class_network(int code)
{
	switch (-code) {
	case ETIMEDOUT:
	case ECONNRESET:
	case ECONNREFUSED:
	case ECONNABORTED:
	case EHOSTUNREACH:
	case ENETUNREACH:
	case EPROTO:
	case EIO:
		return RETRY_TRANSIENT;
	default:
		return RETRY_FATAL;
	}
}

static const struct {
	const char *code;
	enum retry_class class;
} codes[] = {
	/* S3 */
	{"SlowDown", RETRY_THROTTLED},
	{"ServiceUnavailable", RETRY_THROTTLED},
	{"InternalError", RETRY_TRANSIENT},
	{"OperationAborted", RETRY_TRANSIENT},
	{"RequestTimeout", RETRY_TRANSIENT},
	{"BadDigest", RETRY_TRANSIENT},
	{"XAmzContentSHA256Mismatch", RETRY_TRANSIENT},
	{"IncompleteBody", RETRY_TRANSIENT},
	{"ExpiredToken", RETRY_CREDENTIALS},
	{"InvalidToken", RETRY_CREDENTIALS},
	{"TokenRefreshRequired", RETRY_CREDENTIALS},
	{"InvalidAccessKeyId", RETRY_CREDENTIALS},
	{"RequestTimeTooSkewed", RETRY_SKEW},
	{"RequestExpired", RETRY_SKEW},
	{"PermanentRedirect", RETRY_REGION},
	{"TemporaryRedirect", RETRY_REGION},
	{"AuthorizationHeaderMalformed", RETRY_REGION},
	{"IllegalLocationConstraintException", RETRY_REGION},
	/* Both */
	{"Throttling", RETRY_THROTTLED},
	{"ThrottlingException", RETRY_THROTTLED},
	{"ThrottledException", RETRY_THROTTLED},
	{"RequestThrottled", RETRY_THROTTLED},
	{"RequestThrottledException", RETRY_THROTTLED},
	{"TooManyRequestsException", RETRY_THROTTLED},
	{"RequestLimitExceeded", RETRY_THROTTLED},
	{"BandwidthLimitExceeded", RETRY_THROTTLED},
	{"LimitExceededException", RETRY_THROTTLED},
	{"PriorRequestNotComplete", RETRY_THROTTLED},
	{"PriorRequestNotCompleteException", RETRY_THROTTLED},
	/* KMS */
	{"KMSInternalException", RETRY_TRANSIENT},
	{"DependencyTimeoutException", RETRY_TRANSIENT},
	{"KeyUnavailableException", RETRY_TRANSIENT},
	{"InternalFailure", RETRY_TRANSIENT},
	{"ServiceUnavailableException", RETRY_TRANSIENT},
	{"ExpiredTokenException", RETRY_CREDENTIALS},
	{"UnrecognizedClientException", RETRY_CREDENTIALS},
	{"InvalidClientTokenId", RETRY_CREDENTIALS},
	/* Says "Signature expired" when the clock is wrong, and other things when it is not. */
	{"InvalidSignatureException", RETRY_SKEW},
	{"SignatureDoesNotMatch", RETRY_SKEW},
	/* STS */
	{"IDPCommunicationError", RETRY_TRANSIENT},
};

enum retry_class retry_class_answer(int status, const char *code)
{
	for (size_t i = 0; i < ARRAY_LEN(codes); i++)
		if (strcmp(codes[i].code, code) == 0)
			return codes[i].class;
	switch (status) {
	case 301:
	case 302:
	case 307:
	case 308:
		return RETRY_REGION;
	case 408:
	case 500:
	case 502:
	case 504:
		return RETRY_TRANSIENT;
	case 429:
	case 503:
	case 509:
		return RETRY_THROTTLED;
	default:
		return RETRY_FATAL;
	}
}

void retry_start(struct retry *r, unsigned max_attempts, unsigned deadline_ms)
{
	*r = (struct retry){.attempt = 1, .max_attempts = max_attempts};
	r->start_ms = monotonic_ms();
	r->deadline_ms = r->start_ms + deadline_ms;
}

unsigned retry_left_ms(const struct retry *r)
{
	int64_t left_ms = (int64_t)(r->deadline_ms - monotonic_ms());

	return left_ms <= 0 ? 0 : (unsigned)left_ms;
}

int retry_parse_after(const char *value)
{
	int seconds = 0;

	if (!value || !value[0] || strlen(value) > 6)
		return -1;
	for (; *value; value++) {
		if (*value < '0' || *value > '9')
			return -1;
		seconds = seconds * 10 + (*value - '0');
	}
	return seconds;
}

/* Evenly distributed over 0 … limit. */
static int64_t random_up_to(int64_t limit)
{
	uint64_t r = 0;

	if (getrandom(&r, sizeof(r), GRND_NONBLOCK) != (ssize_t)sizeof(r))
		return limit;
	return (int64_t)(r % ((uint64_t)limit + 1));
}

unsigned retry_network_cap(int code)
{
	switch (-code) {
	case ECONNREFUSED:
	case EHOSTUNREACH:
	case ENETUNREACH:
		return UNREACHABLE_ATTEMPTS;
	case EIO:
	case EPROTO:
		return HOPELESS_ATTEMPTS;
	default:
		return 0;
	}
}

int64_t retry_next(struct retry *r, enum retry_class class, unsigned attempts_cap,
		   int retry_after_s)
{
	int64_t limit_ms = class == RETRY_THROTTLED ? BACKOFF_THROTTLED_BASE_MS : BACKOFF_BASE_MS;
	int64_t wait_ms;

	if (r->attempt >= r->max_attempts || (attempts_cap && r->attempt >= attempts_cap))
		return -1;
	for (unsigned i = 1; i < r->attempt && limit_ms < BACKOFF_CAP_MS; i++)
		limit_ms *= 2;
	wait_ms = random_up_to(MIN(limit_ms, BACKOFF_CAP_MS));
	if (retry_after_s >= 0)
		wait_ms = MAX(wait_ms, MIN((int64_t)retry_after_s * 1000, BACKOFF_CAP_MS));
	if (wait_ms >= (int64_t)retry_left_ms(r)) {
		r->deadline_hit = true;
		return -1;
	}
	r->attempt++;
	return wait_ms;
}
