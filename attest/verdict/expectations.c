/*
 * What the caller expects of the document itself. Job: nonce and age, the TLS key, the boot
 * measurements. Pure comparisons; nothing here is secret.
 */
#include "attest/verdict/verdict_internal.h"

#include "crypto/base/encode.h"

#include <string.h>

#define ENCLAVE_CODE_PCRS 3 /* 0 to 2: image, kernel, application */

static bool is_zero(const uint8_t *p, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (p[i])
			return false;
	return true;
}

int step_freshness(struct judging *j)
{
	const struct verdict_request *req = j->req;
	struct bytes_view nonce = j->v->document->nonce;
	int64_t age = j->v->age_s;

	if (req->nonce.data && !nonce.data)
		return step_fail(j->v, STEP_FRESHNESS, "the document carries no nonce");
	if (req->nonce.data &&
	    (nonce.size != req->nonce.size || memcmp(nonce.data, req->nonce.data, nonce.size) != 0))
		return step_fail(j->v, STEP_FRESHNESS,
				 "the document carries another nonce than the one that was asked");
	if (req->has_max_age && age > 0 && (uint64_t)age > req->max_age_s)
		return step_fail(j->v, STEP_FRESHNESS,
				 "the document is %lld s old, older than %llu s", (long long)age,
				 (unsigned long long)req->max_age_s);
	if (req->has_max_age) {
		/* Rounded down like the age, which is in whole seconds downwards. */
		int64_t ahead_ms = (int64_t)j->v->document->timestamp_ms - req->time_s * 1000;

		if (ahead_ms / 1000 > VERDICT_FUTURE_S)
			return step_fail(j->v, STEP_FRESHNESS,
					 "the document is %lld s in the future",
					 (long long)(ahead_ms / 1000));
	}
	return step_pass(j->v, STEP_FRESHNESS);
}

int step_tls(struct judging *j)
{
	char wanted[sizeof(VERDICT_TLS_PREFIX) + 2 * (size_t)SHA256_SIZE] = VERDICT_TLS_PREFIX;
	struct bytes_view found = j->v->document->user_data;
	size_t prefix = strlen(VERDICT_TLS_PREFIX);

	hex_encode(j->req->tls_key, SHA256_SIZE, wanted + prefix);
	if (found.size == strlen(wanted) && memcmp(found.data, wanted, found.size) == 0)
		return step_pass(j->v, STEP_TLS);
	if (found.size < prefix || memcmp(found.data, VERDICT_TLS_PREFIX, prefix) != 0)
		return step_fail(j->v, STEP_TLS, "the document names no TLS key");
	return step_fail(j->v, STEP_TLS,
			 "the TLS key of the server is not the one in the document");
}

bool verdict_is_debug(const struct attest_doc *d)
{
	if (d->kind != DOCUMENT_ENCLAVE)
		return false;
	for (unsigned i = 0; i < ENCLAVE_CODE_PCRS; i++)
		if (d->pcrs[i].present && !is_zero(d->pcrs[i].value, d->pcrs[i].size))
			return false;
	return true;
}

static bool is_asked(const struct verdict_request *req, unsigned pcr)
{
	for (size_t i = 0; i < req->boot_count; i++)
		if (req->boot[i].pcr == pcr)
			return true;
	return false;
}

static bool is_approved(const struct verdict_request *req, unsigned pcr, const uint8_t *value)
{
	for (size_t i = 0; i < req->boot_count; i++)
		if (req->boot[i].pcr == pcr &&
		    memcmp(req->boot[i].value, value, sizeof(req->boot[i].value)) == 0)
			return true;
	return false;
}

int step_boot(struct judging *j)
{
	const struct attest_doc *d = j->v->document;

	if (!j->req->allow_debug && verdict_is_debug(d))
		return step_fail(j->v, STEP_BOOT, "the enclave runs in debug mode");
	for (unsigned pcr = 0; pcr < DOCUMENT_PCRS_MAX; pcr++) {
		if (!is_asked(j->req, pcr))
			continue;
		if (!d->pcrs[pcr].present)
			return step_fail(j->v, STEP_BOOT, "the document has no PCR %u", pcr);
		if (!is_approved(j->req, pcr, d->pcrs[pcr].value))
			return step_fail(j->v, STEP_BOOT,
					 "PCR %u is not one of the approved values", pcr);
	}
	return j->req->boot_count > 0 ? step_pass(j->v, STEP_BOOT) : 0;
}
