/*
 * Fuzz target: JSON that somebody else wrote: a policy file, and evidence. What is accepted holds
 * the promises of the headers; a broken one aborts.
 */
#include "attest/verdict/policy_file.h"
#include "attest/verdict/presented.h"

#include <errno.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void promise(bool kept)
{
	if (!kept)
		abort();
}

static void check_texts(const struct text_list *list)
{
	promise(list->count <= POLICY_FILE_LIST_MAX);
	for (size_t i = 0; i < list->count; i++)
		promise(list->items[i][0] != '\0');
}

static void try_policy(const uint8_t *data, size_t size)
{
	struct policy_file p = {.json = NULL};
	struct error err = {0};
	int r = policy_file_parse(data, size, "policy", &p, &err);

	promise(r == 0 || (r == -EINVAL && err.code == r));
	if (r < 0)
		return;
	check_texts(&p.measurements);
	check_texts(&p.models);
	check_texts(&p.owner_keys);
	promise(p.boot_count <= POLICY_FILE_LIST_MAX && p.pcr <= 15);
	for (size_t i = 0; i < p.boot_count; i++)
		promise(p.boot[i].pcr < DOCUMENT_PCRS_MAX);
	promise(!(p.modes & (1U << MEASURE_NONE)));
	policy_file_clear(&p);
}

static void try_evidence(const uint8_t *data, size_t size)
{
	struct presented p = {0};
	struct error err = {0};
	int r = presented_parse(data, size, &p, &err);

	promise(r == 0 || (r == -EPROTO && err.code == r));
	if (r < 0)
		return;
	promise(p.document.data && p.event_log.data && p.systemd_log.data);
	promise(p.document.size <= DOCUMENT_SIZE_MAX && p.seal_count <= VERDICT_SEALS_MAX &&
		p.set_count <= VERDICT_SETS_MAX);
	presented_clear(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	try_policy(data, size);
	try_evidence(data, size);
	return 0;
}
