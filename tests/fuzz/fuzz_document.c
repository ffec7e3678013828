/*
 * Fuzz target: what comes out of a NitroTPM. The input is tried as an attestation document, as an
 * NSM response, and as bare CBOR. What is accepted must hold the promises of the headers; a broken
 * one aborts.
 */
#include "attest/cbor_read.h"
#include "attest/document.h"
#include "attest/nsm_cbor.h"

#include <errno.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void promise(bool kept)
{
	if (!kept)
		abort();
}

/* Reads every byte, so that AddressSanitizer sees a view that is too long. */
static void check_view(const struct bytes_view *v, size_t max)
{
	_unused_ volatile uint8_t sum = 0;

	promise(v->data || v->size == 0);
	promise(v->size <= max);
	for (size_t n = 0; n < v->size; n++)
		sum ^= v->data[n];
}

static void check_text(const char *text)
{
	for (const char *p = text; *p; p++)
		promise((unsigned char)*p >= 0x20 && (unsigned char)*p < 0x7f);
}

static void check_document(const struct attest_doc *d)
{
	unsigned present = 0;

	promise(d->kind == DOCUMENT_NITROTPM || d->kind == DOCUMENT_ENCLAVE);
	promise(d->module_id && d->module_id[0] && strlen(d->module_id) <= DOCUMENT_MODULE_ID_MAX);
	check_text(d->module_id);
	promise(d->timestamp_ms > 0);
	for (unsigned n = 0; n < DOCUMENT_PCRS_MAX; n++) {
		if (!d->pcrs[n].present)
			continue;
		promise(d->pcrs[n].size == 48);
		promise(d->kind == DOCUMENT_ENCLAVE || n < 24);
		present++;
	}
	promise(present > 0);
	promise(d->cabundle_count >= 1 && d->cabundle_count <= DOCUMENT_CERTS_MAX);
	for (size_t n = 0; n < d->cabundle_count; n++) {
		check_view(&d->cabundle[n], 1024);
		promise(d->cabundle[n].size > 0);
	}
	check_view(&d->certificate, 1024);
	promise(d->certificate.size > 0);
	check_view(&d->public_key, DOCUMENT_FIELD_MAX);
	check_view(&d->user_data, DOCUMENT_FIELD_MAX);
	check_view(&d->nonce, DOCUMENT_FIELD_MAX);
	check_view(&d->protected_header, 256);
	check_view(&d->payload, 16384);
	promise(d->signature.size == 96);
}

static void try_document(const uint8_t *data, size_t size)
{
	_cleanup_(document_freep) struct attest_doc *d = NULL;
	struct error err = {0};
	int e = document_parse(data, size, &d, &err);

	if (e == 0) {
		promise(d && err.code == 0);
		check_document(d);
		return;
	}
	promise(!d && e == -EPROTO && err.code == e);
	check_text(err.message);
}

static void try_response(const uint8_t *data, size_t size)
{
	struct bytes_view v = {0};
	struct error err = {0};
	int e = nsm_decode_attestation(data, size, &v, &err);

	promise(e == 0 || err.code == e);
	check_text(err.message);
	if (e == 0)
		promise(v.data >= data && v.size <= size && v.data + v.size <= data + size);
}

static void try_answer(const uint8_t *data, size_t size, const char *name)
{
	struct nsm_answer a = {0};
	struct error err = {0};
	int e = nsm_decode_answer(data, size, name, &a, &err);

	promise(e == 0 || err.code == e);
	check_text(err.message);
	if (e == 0 && a.data.data)
		promise(a.data.data >= data && a.data.size <= size &&
			a.data.data + a.data.size <= data + size);
}

static void try_cbor(const uint8_t *data, size_t size)
{
	struct item_reader r = item_reader_init(data, size);
	int e = item_skip(&r, 0);

	promise(e == 0 || e == -ENODATA || e == -EPROTO);
	promise(r.pos <= size);
	promise(nsm_response_complete(data, size) == e);
	if (e < 0)
		return;
	/* An item is whole exactly when all of its bytes are there. */
	promise(r.pos > 0 && nsm_response_complete(data, r.pos) == 0);
	promise(nsm_response_complete(data, r.pos - 1) == -ENODATA);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	try_document(data, size);
	try_response(data, size);
	try_answer(data, size, "DescribePCR");
	try_answer(data, size, "LockPCR");
	try_cbor(data, size);
	return 0;
}
