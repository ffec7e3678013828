/*
 * Fuzz target: what a seal states about a plaintext, from the plaintext's bytes. The first byte
 * says in which pieces the others come. The facts must be in their one form, fit a seal, and not
 * depend on the pieces; the kind must be there.
 */
#include "crypto/base/cleanup.h"
#include "tools/seal/model_facts.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void promise(bool kept)
{
	if (!kept)
		abort();
}

static void scan(const uint8_t *data, size_t size, size_t piece, struct facts *ret)
{
	struct model_facts m;

	model_facts_start(&m, size);
	while (size > 0) {
		size_t n = MIN(size, piece);
		/* An exact copy, so that a sanitizer sees a read beyond it. */
		_cleanup_free_ uint8_t *copy = malloc(n);

		promise(copy != NULL);
		memcpy(copy, data, n);
		model_facts_feed(&m, copy, n);
		data += n;
		size -= n;
	}
	promise(model_facts_make(&m, ret) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct facts whole, pieces;
	const char *kind;
	size_t n = 0;

	if (size == 0)
		return 0;
	scan(data + 1, size - 1, size, &whole);
	scan(data + 1, size - 1, (size_t)data[0] + 1, &pieces);
	promise(whole.size == pieces.size && strcmp(whole.text, pieces.text) == 0);
	promise(strlen(whole.text) == whole.size && !facts_problem(whole.text, whole.size));
	kind = facts_find(whole.text, FACT_KIND, &n);
	promise(kind != NULL);
	if (size < 5 || memcmp(data + 1, "GGUF", 4) != 0)
		promise(n != strlen(FACT_KIND_GGUF) || memcmp(kind, FACT_KIND_GGUF, n) != 0);
	return 0;
}
