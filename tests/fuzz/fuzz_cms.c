/*
 * Fuzz target: the envelope in which KMS returns a key. The RSA key is fresh, so nothing but a
 * refusal is right; leaks and reads beyond the input are for the sanitizers.
 */
#include "fs/unlock/cms.h"

#include <errno.h>
#include <openssl/rsa.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static EVP_PKEY *key;
	struct secret *plain = NULL;
	struct error err = {0};
	int e;

	if (!key)
		key = EVP_RSA_gen(2048);
	if (!key)
		abort();
	e = cms_open(data, size, key, 32, &plain, &err);
	if ((e != -EPROTO && e != -EBADMSG) || err.code != e || plain)
		abort();
	return 0;
}
