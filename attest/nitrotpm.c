/*
 * Attestation by a NitroTPM. Job: the exchange from request to document bytes. Trusts neither the
 * other users of the TPM nor the response: the caller parses it and compares it with the request.
 * Must never return while the mailbox it made still exists and can be removed.
 */
#include "attest/nitrotpm.h"

#include "attest/mailbox.h"
#include "attest/nsm_cbor.h"
#include "crypto/base/log.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#define MANAGED_DEVICE "device:/dev/tpmrm"
#define PLAIN_DEVICE "device:/dev/tpm"

static int read_response(struct mailbox *m, uint8_t **ret, size_t *ret_size, struct error *err)
{
	_cleanup_free_ uint8_t *response = malloc(MAILBOX_SIZE);
	uint8_t *document;
	struct bytes_view v;
	size_t size = 0, n = 0;
	int e;

	if (!response)
		return error_set(err, -ENOMEM, "out of memory");
	do {
		e = mailbox_read(m, size, response + size, &n, err);
		if (e < 0)
			return e;
		size += n;
		e = nsm_response_complete(response, size);
	} while (e == -ENODATA && size < MAILBOX_SIZE);
	e = nsm_decode_attestation(response, size, &v, err);
	if (e < 0)
		return e;
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

static int exchange(const char *tcti, const struct mailbox_lock *lock, const uint8_t *request,
		    size_t request_size, uint8_t **ret, size_t *ret_size, char **ret_conf,
		    struct error *err)
{
	_cleanup_tpm_ struct tpm *t = NULL;
	_cleanup_(mailbox_close) struct mailbox m = {0};
	int e = tpm_open(tcti, &t, err);

	if (e < 0)
		return e;
	*ret_conf = strdup(t->conf);
	if (!*ret_conf)
		return error_set(err, -ENOMEM, "out of memory");
	e = mailbox_open(t, lock, &m, err);
	if (e < 0)
		return e;
	e = mailbox_write(&m, request, request_size, err);
	if (e < 0)
		return e;
	e = mailbox_request(&m, err);
	if (e < 0)
		return e;
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
	int e;

	mailbox_lock(&lock);
	e = exchange(tcti, &lock, request, size, ret, ret_size, &conf, &first);
	if (e == -EOPNOTSUPP && conf)
		plain = plain_device(conf);
	if (plain) {
		log_debug("no attestation through %s; trying %s", conf, plain);
		e = exchange(plain, &lock, request, size, ret, ret_size, &plain_conf, &second);
		/* No or no usable plain device: the first answer says more. */
		if (e < 0 && e != -ENODEV && e != -EBUSY)
			say = &second;
	}
	if (e == 0)
		return 0;
	if (err && !err->code)
		*err = *say;
	return say->code;
}

int nitrotpm_attest(const char *tcti, const struct attest_request *req, uint8_t **ret,
		    size_t *ret_size, struct error *err)
{
	uint8_t request[NSM_REQUEST_MAX];
	sigset_t hold, before;
	size_t size;
	int e = nsm_encode_attestation(req, request, &size, err);

	if (e < 0)
		return e;
	sigemptyset(&hold);
	sigaddset(&hold, SIGINT);
	sigaddset(&hold, SIGTERM);
	sigaddset(&hold, SIGHUP);
	if (pthread_sigmask(SIG_BLOCK, &hold, &before) != 0)
		return error_set(err, -EIO, "cannot hold back signals");
	e = attest_locked(tcti, request, size, ret, ret_size, err);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return e;
}
