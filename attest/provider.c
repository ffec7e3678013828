/*
 * Attestation by a NitroTPM. Job: one exchange at a time, from request to document, and the check
 * that the document answers this request and no other. Trusts neither the other users of the TPM
 * nor its response: every process with access to the TPM can write to the mailbox. Must never
 * return while the mailbox it made still exists and can be removed.
 */
#include "attest/provider.h"

#include "attest/mailbox.h"
#include "attest/nsm.h"
#include "attest/nsm_cbor.h"
#include "crypto/base/log.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#define MANAGED_DEVICE "device:/dev/tpmrm"
#define PLAIN_DEVICE "device:/dev/tpm"

struct attest_provider {
	char *tcti; /* NULL: as tpm_open() decides */
	pthread_mutex_t lock;
};

int attest_provider_new(const char *tcti, struct attest_provider **ret, struct error *err)
{
	_cleanup_free_ struct attest_provider *p = NULL;

	p = calloc(1, sizeof(*p));
	if (!p)
		return error_set(err, -ENOMEM, "out of memory");
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

static int take_document(const uint8_t *response, size_t size, uint8_t **ret, size_t *ret_size,
			 struct error *err)
{
	uint8_t *document;
	struct bytes_view v;
	int r = nsm_decode_attestation(response, size, &v, err);

	if (r < 0)
		return r;
	if (v.size == 0)
		return error_set(err, -EPROTO, "the TPM's attestation document is empty");
	document = malloc(v.size);
	if (!document)
		return error_set(err, -ENOMEM, "out of memory");
	memcpy(document, v.data, v.size);
	*ret = document;
	*ret_size = v.size;
	return 0;
}

static int read_response(struct mailbox *m, uint8_t **ret, size_t *ret_size, struct error *err)
{
	_cleanup_free_ uint8_t *response = malloc(MAILBOX_SIZE);
	size_t size = 0, n = 0;
	int r;

	if (!response)
		return error_set(err, -ENOMEM, "out of memory");
	do {
		r = mailbox_read(m, size, response + size, &n, err);
		if (r < 0)
			return r;
		size += n;
		r = nsm_response_complete(response, size);
	} while (r == -ENODATA && size < MAILBOX_SIZE);
	return take_document(response, size, ret, ret_size, err);
}

static int exchange(const char *tcti, const struct mailbox_lock *lock, const uint8_t *request,
		    size_t request_size, uint8_t **ret, size_t *ret_size, char **ret_conf,
		    struct error *err)
{
	_cleanup_tpm_ struct tpm *t = NULL;
	_cleanup_(mailbox_close) struct mailbox m = {0};
	int r = tpm_open(tcti, &t, err);

	if (r < 0)
		return r;
	*ret_conf = strdup(t->conf);
	if (!*ret_conf)
		return error_set(err, -ENOMEM, "out of memory");
	r = mailbox_open(t, lock, &m, err);
	if (r < 0)
		return r;
	r = mailbox_write(&m, request, request_size, err);
	if (r < 0)
		return r;
	r = mailbox_request(&m, err);
	if (r < 0)
		return r;
	return read_response(&m, ret, ret_size, err);
}

/* /dev/tpm0 for /dev/tpmrm0: the resource manager only passes commands that the TPM lists. */
static char *plain_device(const char *conf)
{
	char *plain = NULL;

	if (strncmp(conf, MANAGED_DEVICE, strlen(MANAGED_DEVICE)) != 0 ||
	    asprintf(&plain, PLAIN_DEVICE "%s", conf + strlen(MANAGED_DEVICE)) < 0)
		return NULL;
	return plain;
}

static int attest_locked(const char *tcti, const uint8_t *request, size_t size, uint8_t **ret,
			 size_t *ret_size, struct error *err)
{
	_cleanup_mailbox_lock_ struct mailbox_lock lock = {.fd = -1};
	_cleanup_free_ char *conf = NULL, *plain = NULL, *plain_conf = NULL;
	struct error first = {0}, second = {0};
	const struct error *say = &first;
	int r;

	mailbox_lock(&lock);
	r = exchange(tcti, &lock, request, size, ret, ret_size, &conf, &first);
	if (r == -EOPNOTSUPP && conf)
		plain = plain_device(conf);
	if (plain) {
		log_debug("no attestation through %s; trying %s", conf, plain);
		r = exchange(plain, &lock, request, size, ret, ret_size, &plain_conf, &second);
		/* There is no usable plain device: the first error is more useful. */
		if (r < 0 && r != -ENODEV && r != -EBUSY)
			say = &second;
	}
	if (r == 0)
		return 0;
	if (err && !err->code)
		*err = *say;
	return say->code;
}

/* In an enclave the module itself takes the request, and nothing is left behind in it. */
static int fetch_nsm(const char *conf, const uint8_t *request, size_t size, uint8_t **ret,
		     size_t *ret_size, struct error *err)
{
	_cleanup_free_ uint8_t *response = malloc(NSM_RESPONSE_MAX);
	size_t n = 0;
	int r = response ? 0 : error_set(err, -ENOMEM, "out of memory");

	if (r == 0)
		r = nsm_exchange(conf, request, size, response, &n, err);
	return r < 0 ? r : take_document(response, n, ret, ret_size, err);
}

/* One whole exchange. SIGINT, SIGTERM and SIGHUP wait until it is over, so that no mailbox stays.
 */
static int fetch(const char *tcti, const struct attest_request *req, uint8_t **ret,
		 size_t *ret_size, struct error *err)
{
	uint8_t request[NSM_REQUEST_MAX];
	sigset_t hold, before;
	size_t size;
	int r = nsm_encode_attestation(req, request, &size, err);

	if (r == 0 && tpm_is_nsm(tcti))
		return fetch_nsm(tpm_choose(tcti), request, size, ret, ret_size, err);
	if (r < 0)
		return r;
	sigemptyset(&hold);
	sigaddset(&hold, SIGINT);
	sigaddset(&hold, SIGTERM);
	sigaddset(&hold, SIGHUP);
	if (pthread_sigmask(SIG_BLOCK, &hold, &before) != 0)
		return error_set(err, -EIO, "cannot hold back signals");
	r = attest_locked(tcti, request, size, ret, ret_size, err);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

static bool same(const struct bytes_view *got, const uint8_t *wanted, size_t size)
{
	return got->size == size && (size == 0 || memcmp(got->data, wanted, size) == 0);
}

static int check_answer(const struct attest_doc *d, const struct attest_request *req, bool nsm,
			struct error *err)
{
	const char *differs = NULL;

	if (d->kind != (nsm ? DOCUMENT_ENCLAVE : DOCUMENT_NITROTPM))
		return error_set(err, -EPROTO,
				 "the attestation document is not of the kind that a %s makes",
				 nsm ? "Nitro Enclave" : "NitroTPM");
	if (!same(&d->public_key, req->public_key, req->public_key_size))
		differs = "public key";
	else if (!same(&d->nonce, req->nonce, req->nonce_size))
		differs = "nonce";
	else if (!same(&d->user_data, req->user_data, req->user_data_size))
		differs = "user data";
	if (!differs)
		return 0;
	error_set(err, -EBADMSG, "the attestation document has another %s than requested", differs);
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
	int r;

	pthread_mutex_lock(&p->lock);
	r = fetch(p->tcti, req, &document, &size, err);
	pthread_mutex_unlock(&p->lock);
	if (r < 0)
		return r;
	r = document_parse(document, size, &d, err);
	if (r < 0)
		return r;
	r = check_answer(d, req, tpm_is_nsm(p->tcti), err);
	if (r < 0)
		return r;
	*ret = steal_ptr(document);
	*ret_size = size;
	return 0;
}

int attest_seed(struct attest_provider *p, struct error *err)
{
	return tpm_is_nsm(p->tcti) ? nsm_seed(tpm_choose(p->tcti), err) : 0;
}
