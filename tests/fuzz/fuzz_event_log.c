/*
 * Fuzz target: the logs of a machine, against a document whose model PCR is zero. The input is the
 * event log; what follows a byte 0xff in it is systemd's. What the PCR holds is known only if the
 * log step passed; a broken promise aborts.
 */
#include "attest/verdict/verdict.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void promise(bool kept)
{
	if (!kept)
		abort();
}

static size_t add(uint8_t *out, size_t at, const char *bytes, size_t size)
{
	memcpy(out + at, bytes, size);
	return at + size;
}

#define ADD(text) at = add(out, at, text, sizeof(text) - 1)

/* The smallest document: PCR 15 is zero, and it is not signed. */
static size_t make_document(uint8_t out[512])
{
	size_t at = 0, payload;

	ADD("\x84\x44\xa1\x01\x38\x22\xa0\x59\x00\x00");
	payload = at;
	ADD("\xa6\x69module_id\x63i-0\x66"
	    "digest\x66SHA384\x69timestamp\x01\x6dnitrotpm_pcrs\xa1\x0f\x58\x30");
	memset(out + at, 0, 48);
	at += 48;
	ADD("\x6b"
	    "certificate\x41"
	    "0\x68"
	    "cabundle\x81\x41"
	    "0");
	out[payload - 1] = (uint8_t)(at - payload);
	ADD("\x58\x60");
	memset(out + at, 0, 96);
	return at + 96;
}

static void check(const struct verdict *v)
{
	enum verdict_status log = v->steps[STEP_LOG].status;

	promise(v->document && log != STATUS_NOT_ASKED);
	promise(v->holds_known == (log == STATUS_PASSED));
	promise(v->holds_known || v->model_count + v->start_count + v->unknown_count == 0);
	/* The register is zero, so nothing was extended. */
	promise(v->model_count + v->start_count + v->unknown_count + v->systemd_count == 0);
	promise(v->steps[STEP_MODEL].status == STATUS_FAILED);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct owner_keys *nobody;
	const uint8_t *end = size > 0 ? memchr(data, 0xff, size) : NULL;
	size_t first = end ? (size_t)(end - data) : size;
	uint8_t document[512];
	struct verdict_request req = {.document = {document, make_document(document)},
				      .time_s = 1,
				      .pcr = PCR_DEFAULT,
				      .attest = "nitrotpm",
				      .modes = 1U << MEASURE_VERITY,
				      .event_log = {data ? data : document, first}};
	struct verdict *v = NULL;

	if (!nobody)
		promise(owner_keys_new(&nobody) == 0);
	req.owners = nobody;
	if (end)
		req.systemd_log = (struct bytes_view){end + 1, size - first - 1};
	promise(verdict_judge(&req, &v, NULL) == 0);
	check(v);
	verdict_free(v);
	return 0;
}
