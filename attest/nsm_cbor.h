/*
 * nsm_cbor.h: request and response of the Nitro Secure Module, the language that the NitroTPM's
 * vendor command speaks too. Source: aws-nitro-enclaves-nsm-api, src/api/mod.rs.
 */
#ifndef SEALEDFS_NSM_CBOR_H
#define SEALEDFS_NSM_CBOR_H

#include "attest/document.h"

/* Room for an Attestation request with three full fields. */
#define NSM_REQUEST_MAX (3 * DOCUMENT_FIELD_MAX + 64)

/* Writes the request to out. -E2BIG: a field is over DOCUMENT_FIELD_MAX. */
int nsm_encode_attestation(const struct attest_request *req, uint8_t out[NSM_REQUEST_MAX],
			   size_t *ret_size, struct error *err);

/* 0 when bytes begin with one whole CBOR item, -ENODATA when more is needed, -EPROTO. */
int nsm_response_complete(const uint8_t *bytes, size_t size);

/*
 * The document inside the response that bytes begin with; what follows it is padding. *ret points
 * into bytes. -EPROTO malformed; -E2BIG, -EOPNOTSUPP or -EIO: the module's own error, in words.
 */
int nsm_decode_attestation(const uint8_t *bytes, size_t size, struct bytes_view *ret,
			   struct error *err);

#endif
