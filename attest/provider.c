/*
 * Attestation providers. Job: pick the backend, serialise its use, and check that the document it
 * gives is the answer to this request and no other. Trusts the backend to fetch, nothing more: on
 * a NitroTPM every process with access to the TPM can write to the mailbox.
 */
#include "attest/provider.h"

#include "attest/document.h"
#include "attest/nitrotpm.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

struct backend {
	const char *name;
	enum document_kind kind;
	int (*attest)(const char *tcti, const struct attest_request *req, uint8_t **ret,
		      size_t *ret_size, struct error *err);
};

static const struct backend backends[] = {
	{.name = "nitrotpm", .kind = DOCUMENT_NITROTPM, .attest = nitrotpm_attest},
};

struct attest_provider {
	const struct backend *backend;
	char *tcti; /* NULL: as tpm_open() decides */
	pthread_mutex_t lock;
};

int attest_provider_new(const char *name, const char *tcti, struct attest_provider **ret,
			struct error *err)
{
	_cleanup_free_ struct attest_provider *p = NULL;

	p = calloc(1, sizeof(*p));
	if (!p)
		return error_set(err, -ENOMEM, "out of memory");
	for (size_t n = 0; n < ARRAY_LEN(backends); n++)
		if (strcmp(backends[n].name, name) == 0)
			p->backend = &backends[n];
	if (!p->backend)
		return error_set(err, -EINVAL, "unknown attestation provider \"%s\"", name);
	if (tcti) {
		p->tcti = strdup(tcti);
		if (!p->tcti)
			return error_set(err, -ENOMEM, "out of memory");
	}
	pthread_mutex_init(&p->lock, NULL);
	*ret = steal_ptr(p);
	return 0;
}

void attest_provider_free(struct attest_provider *p)
{
	if (!p)
		return;
	pthread_mutex_destroy(&p->lock);
	free(p->tcti);
	free(p);
}

static bool same(const struct bytes_view *got, const uint8_t *wanted, size_t size)
{
	return got->size == size && (size == 0 || memcmp(got->data, wanted, size) == 0);
}

static int check_answer(const struct attest_provider *p, const struct attest_doc *d,
			const struct attest_request *req, struct error *err)
{
	const char *differs = NULL;

	if (d->kind != p->backend->kind)
		return error_set(err, -EPROTO,
				 "the attestation document is not of the kind that %s makes",
				 p->backend->name);
	if (!same(&d->public_key, req->public_key, req->public_key_size))
		differs = "public key";
	else if (!same(&d->nonce, req->nonce, req->nonce_size))
		differs = "nonce";
	else if (!same(&d->user_data, req->user_data, req->user_data_size))
		differs = "user data";
	if (!differs)
		return 0;
	error_set(err, -EBADMSG, "the attestation document has another %s than was asked for",
		  differs);
	error_hint(err, "another process with access to the TPM interfered; try again, and look "
			"for it if this repeats");
	return -EBADMSG;
}

int attest_document(struct attest_provider *p, const struct attest_request *req, uint8_t **ret,
		    size_t *ret_size, struct error *err)
{
	_cleanup_(document_freep) struct attest_doc *d = NULL;
	_cleanup_free_ uint8_t *document = NULL;
	size_t size = 0;
	int e;

	pthread_mutex_lock(&p->lock);
	e = p->backend->attest(p->tcti, req, &document, &size, err);
	pthread_mutex_unlock(&p->lock);
	if (e < 0)
		return e;
	e = document_parse(document, size, &d, err);
	if (e < 0)
		return e;
	e = check_answer(p, d, req, err);
	if (e < 0)
		return e;
	*ret = steal_ptr(document);
	*ret_size = size;
	return 0;
}
