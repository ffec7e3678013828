/* Documents that hardware made (tests/vectors/attestation-docs/), each with its own time. */
#ifndef SEALEDFS_TEST_DOCUMENTS_H
#define SEALEDFS_TEST_DOCUMENTS_H

#include "tests/unit/test.h"

#include "attest/verdict/verdict.h"
#include "crypto/base/encode.h"

#include <stdio.h>
#include <string.h>

struct real_document {
	const char *file;
	uint64_t timestamp_ms;
};

static const struct real_document real_documents[] = {
	{"enclave-eu-west-1-20221109.cose", 1668034320696},
	{"enclave-us-east-1-20240907.cose", 1725719859545},
	{"nitrotpm-us-east-1-20260203.cose", 1770113522437},
};

static inline size_t load_document(const char *file, uint8_t buf[DOCUMENT_SIZE_MAX])
{
	char path[512];
	_cleanup_fclose_ FILE *f = NULL;
	size_t n;

	(void)snprintf(path, sizeof(path), "%s/tests/vectors/attestation-docs/%s", TEST_SOURCE_ROOT,
		       file);
	f = fopen(path, "re");
	assert_non_null(f);
	n = fread(buf, 1, DOCUMENT_SIZE_MAX, f);
	assert_true(n > 0);
	return n;
}

/* Nothing is asked; judged at this time. owners: empty. */
static inline struct verdict_request plain_request(const uint8_t *document, size_t size,
						   int64_t time_s, struct owner_keys *owners)
{
	return (struct verdict_request){.document = {document, size},
					.time_s = time_s,
					.pcr = PCR_DEFAULT,
					.owners = owners,
					.attest = "nitrotpm"};
}

#endif
