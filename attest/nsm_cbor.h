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

/* Any other request: its name alone, or with fields. */
struct nsm_call {
	const char *name; /* "LockPCR" */
	bool has_index;
	unsigned index;
	const uint8_t *data; /* NULL: no such field */
	size_t data_size;
};
/* -E2BIG. */
int nsm_encode_call(const struct nsm_call *c, uint8_t out[NSM_REQUEST_MAX], size_t *ret_size,
		    struct error *err);
struct nsm_answer {
	bool has_lock, lock;
	struct bytes_view data; /* "data" or "random"; points into the response; NULL: neither */
};
/*
 * The response to the request of this name, which is all of bytes. -EPROTO malformed, or an answer
 * to another request; the module's own error, in words: -EKEYREJECTED a locked PCR, -EINVAL,
 * -E2BIG, -EOPNOTSUPP or -EIO.
 */
int nsm_decode_answer(const uint8_t *bytes, size_t size, const char *name, struct nsm_answer *ret,
		      struct error *err);

/* 0 when bytes begin with one whole CBOR item, -ENODATA when more is needed, -EPROTO. */
int nsm_response_complete(const uint8_t *bytes, size_t size);

/*
 * The document inside the response that bytes begin with; what follows it is padding. *ret points
 * into bytes. -EPROTO malformed; -E2BIG, -EOPNOTSUPP or -EIO: the module's own error, in words.
 */
int nsm_decode_attestation(const uint8_t *bytes, size_t size, struct bytes_view *ret,
			   struct error *err);

#endif
