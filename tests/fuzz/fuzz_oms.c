/*
 * Fuzz target: the parsers of OMS bundles. The input is a bundle, and once more a statement. What
 * parses must hold the promises of fs/formats/oms.h, and be the same after it was written again.
 */
#include "crypto/base/printable.h"
#include "fs/formats/oms.h"

#include <errno.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void promise(bool kept)
{
	if (!kept)
		abort();
}

static void check_error(int r, const struct error *err)
{
	promise(r == -EPROTO && err->code == r);
	promise(utf8_valid(err->message, strlen(err->message)));
}

static void check_statement(const struct oms_statement *s)
{
	_cleanup_(oms_statement_freep) struct oms_statement *again = NULL;
	_cleanup_free_ char *text = NULL;

	promise(s->count >= 1 && s->name[0]);
	for (size_t i = 0; i < s->count; i++) {
		promise(i == 0 || strcmp(s->files[i - 1].path, s->files[i].path) < 0);
		promise(oms_path_is_canonical(s->files[i].path, false));
		promise(oms_statement_find(s, s->files[i].path) == &s->files[i]);
	}
	for (size_t i = 0; i < s->ignored_count; i++)
		promise(oms_statement_ignores(s, s->ignored[i]));
	promise(oms_statement_write(s, &text) == 0);
	promise(oms_statement_parse("again", text, strlen(text), &again, NULL) == 0);
	promise(again->count == s->count);
	for (size_t i = 0; i < s->count; i++)
		promise(strcmp(again->files[i].path, s->files[i].path) == 0 &&
			memcmp(again->files[i].sha256, s->files[i].sha256, SHA256_SIZE) == 0);
}

static void try_statement(const void *data, size_t size)
{
	_cleanup_(oms_statement_freep) struct oms_statement *s = NULL;
	struct error err = {0};
	int r = oms_statement_parse("fuzz", data, size, &s, &err);

	if (r < 0)
		check_error(r, &err);
	else
		check_statement(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(oms_bundle_freep) struct oms_bundle *b = NULL;
	struct error err = {0};
	int r = oms_bundle_parse("fuzz", data, size, &b, &err);

	try_statement(data, size);
	if (r < 0) {
		check_error(r, &err);
		return 0;
	}
	promise(b->payload && b->signature);
	promise((b->certificate != NULL) == (b->certificates > 0));
	promise(!b->hint || !b->certificate);
	try_statement(b->payload, b->payload_size);
	return 0;
}
