/*
 * document.h: an AWS attestation document (untagged or tagged COSE_Sign1, NitroTPM or Nitro
 * Enclave), parsed strictly, but accepting what hardware really emits: definite or indefinite maps,
 * null for absent. Source: AWS "NitroTPM attestation document content", aws-nitro-enclaves-nsm-api
 * attestation_process.md. Parsing verifies nothing.
 */
#ifndef SEALEDFS_DOCUMENT_H
#define SEALEDFS_DOCUMENT_H

#include "crypto/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DOCUMENT_SIZE_MAX 20480 /* bytes of a whole document */
#define DOCUMENT_PCRS_MAX 32
#define DOCUMENT_CERTS_MAX 8
#define DOCUMENT_MODULE_ID_MAX 255
#define DOCUMENT_FIELD_MAX 1024 /* bytes of public_key, user_data, nonce */

/* The content of a requested document. Each field may be NULL with size 0: absent. */
struct attest_request {
	const uint8_t *user_data;
	size_t user_data_size;
	const uint8_t *nonce;
	size_t nonce_size;
	const uint8_t *public_key; /* DER SubjectPublicKeyInfo for KMS */
	size_t public_key_size;
};

enum document_kind { DOCUMENT_NITROTPM, DOCUMENT_ENCLAVE };

struct bytes_view {
	const uint8_t *data; /* NULL: absent */
	size_t size;
};

/* Every view points into memory that the object owns. */
struct attest_doc {
	enum document_kind kind;
	char *module_id;
	uint64_t timestamp_ms; /* since 1970, UTC */
	struct {
		bool present;
		uint8_t size; /* 48 */
		uint8_t value[64];
	} pcrs[DOCUMENT_PCRS_MAX];
	struct bytes_view certificate; /* DER leaf */
	struct bytes_view
		cabundle[DOCUMENT_CERTS_MAX]; /* [0] is the root as the document carries it */
	size_t cabundle_count;
	struct bytes_view public_key, user_data, nonce;
	struct bytes_view protected_header, payload, signature; /* of the COSE_Sign1 */
};

/*
 * size: exactly one document, no trailing bytes. -EPROTO, -ENOMEM. Limits: see above; a PCR value
 * has 48 bytes, because the only digest that AWS documents is SHA384; a signature has 96.
 */
int document_parse(const uint8_t *bytes, size_t size, struct attest_doc **ret, struct error *err);
/* The same. *ret_field: of -EPROTO the field that breaks its rule ("cabundle"), NULL when the bytes
 * do not have a document's form; constant text. */
int document_parse_by_rule(const uint8_t *bytes, size_t size, struct attest_doc **ret,
			   const char **ret_field, struct error *err);
void document_free(struct attest_doc *d);

DEFINE_CLEANUP(struct attest_doc *, document_free)

#endif
