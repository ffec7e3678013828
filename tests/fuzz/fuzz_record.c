/*
 * Fuzz target: records of a measurement log. What is accepted must say which bank has which digest,
 * once, and must be whole; a broken promise aborts.
 */
#include "attest/event_record.h"

#include <errno.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void promise(bool kept)
{
	if (!kept)
		abort();
}

static void check_values(const struct pcr_values *v, unsigned pcr)
{
	promise(v->pcr == pcr && pcr < PCR_COUNT && v->bank_count <= PCR_BANKS_MAX);
	for (size_t n = 0; n < v->bank_count; n++) {
		promise(digest_size(v->banks[n].alg) > 0);
		promise(n == 0 || v->banks[n - 1].alg < v->banks[n].alg);
	}
}

static void check_record(const struct event_record *r)
{
	struct pcr_values value = r->digests;

	check_values(&r->digests, r->digests.pcr);
	promise(event_record_apply(r, &value) == 0);
	if (r->kind == EVENT_OTHER)
		return;
	promise((r->kind == EVENT_START || r->mode != MEASURE_NONE) &&
		strlen(r->boot_id) == EVENT_BOOT_ID_SIZE - 1);
	if (r->has_before)
		check_values(&r->before, r->digests.pcr);
	event_record_start(r, &value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct event_record r = {0};
	size_t used = 0;
	int e = event_record_decode(data, size, &r, &used);

	promise(e == 1 || e == 0 || e == -ENODATA || e == -EPROTO);
	if (e < 0)
		return 0;
	promise(used > 2 && used <= size && data[0] == 0x1e && data[used - 1] == '\n');
	if (e == 1)
		check_record(&r);
	promise(event_record_decode(data, used - 1, &r, &used) == -ENODATA);
	return 0;
}
