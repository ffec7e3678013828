/*
 * oms.h: OpenSSF Model Signing 1.0 (github.com/ossf/model-signing-spec): a Sigstore bundle with a
 * DSSE envelope, in it an in-toto statement with the SHA-256 of each file of a model. Reading, in
 * this order:
 *
 *   oms_bundle_parse()     the bundle's structure; its payload is not looked at
 *   (fs/oms checks the signature over oms_signed_bytes())
 *   oms_statement_parse()  the payload
 *
 * and writing, the other way round. `label` names the bundle in messages. Errors: -EPROTO, the
 * message says what is wrong; -ENOMEM. Nothing here is trusted before the signature was checked.
 */
#ifndef SEALEDFS_FORMATS_OMS_H
#define SEALEDFS_FORMATS_OMS_H

#include "crypto/base/digest.h"
#include "crypto/base/error.h"
#include "crypto/base/json.h"

#include <stdbool.h>

/* Bytes of a bundle; 65536 files with paths of 100 bytes need 20 MB. */
#define OMS_BUNDLE_MAX ((size_t)48 << 20)
/* What parsing takes, in bytes of memory for each byte of a bundle. */
#define OMS_MEMORY_FACTOR 10
#define OMS_FILES_MAX ((size_t)1 << 20)

struct oms_bundle {
	uint8_t *payload, *signature;
	size_t payload_size, signature_size;
	char *hint; /* of the key: SHA-256 of its PEM text, in hexadecimal; NULL: none */
	/* The signer's certificate, DER; NULL: the bundle names a key. */
	uint8_t *certificate;
	size_t certificate_size;
	/* Present in the bundle. Nothing here checks them. */
	size_t certificates, log_entries, timestamps;
};

struct oms_file {
	const char *path; /* canonical: components joined by '/', none empty, "." or ".." */
	uint8_t sha256[SHA256_SIZE];
};

struct oms_statement {
	const char *name; /* of the model; for people only */
	struct oms_file *files;
	size_t count;
	const char **ignored; /* paths that the signer left out, with all below them; canonical */
	size_t ignored_count;
	json_t *json; /* what owns the strings; NULL: the caller */
};

int oms_bundle_parse(const char *label, const void *bytes, size_t size, struct oms_bundle **ret,
		     struct error *err);
void oms_bundle_free(struct oms_bundle *b);

/* DSSE's pre-authentication encoding of a payload: what is signed. malloc()ed. -ENOMEM. */
int oms_signed_bytes(const void *payload, size_t size, uint8_t **ret, size_t *ret_size);

/* *ret: files sorted by the bytes of their paths, at least one, none twice. */
int oms_statement_parse(const char *label, const void *payload, size_t size,
			struct oms_statement **ret, struct error *err);
void oms_statement_free(struct oms_statement *s);
/* NULL: the statement does not name it. */
const struct oms_file *oms_statement_find(const struct oms_statement *s, const char *path);
/* True: the statement leaves this path out, or the specification does (".git" and the like). */
bool oms_statement_ignores(const struct oms_statement *s, const char *path);
/* True: the specification leaves it out. */
bool oms_ignores_by_default(const char *path);
/* True: it may be a file's path in a statement. for_ignoring: an entry of `ignored`. */
bool oms_path_is_canonical(const char *path, bool for_ignoring);

/* Files must be sorted by the bytes of their paths, and UTF-8. JSON text; malloc()ed. -ENOMEM. */
int oms_statement_write(const struct oms_statement *s, char **ret);
/* A bundle for a plain key. Text with a line end; malloc()ed. -ENOMEM. */
int oms_bundle_write(const char *payload, const uint8_t *signature, size_t signature_size,
		     const char *hint, char **ret);

DEFINE_CLEANUP(struct oms_bundle *, oms_bundle_free)
DEFINE_CLEANUP(struct oms_statement *, oms_statement_free)

#endif
