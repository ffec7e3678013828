/*
 * CMS envelopes of KMS. Job: one envelope, one recipient, one key. Trusts OpenSSL to parse and
 * decrypt, and nothing else: a wrong RSA key can "succeed" with garbage, so the length is checked
 * here and the seal's commitment by the caller. Must never leave plaintext in ordinary memory.
 */
#include "fs/unlock/cms.h"

#include <errno.h>
#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/objects.h>

static inline void content_info_freep(CMS_ContentInfo **c)
{
	CMS_ContentInfo_free(*c);
}

static inline void bio_freep(BIO **b)
{
	BIO_free(*b);
}

static int malformed(struct error *err, const char *what)
{
	return error_set(err, -EPROTO, "KMS returned a key in an unknown envelope: %s", what);
}

/* RSAES_OAEP_SHA_256 is what was asked for; anything weaker must not reach the RSA key. */
static bool is_oaep_sha256(CMS_RecipientInfo *recipient)
{
	X509_ALGOR *alg = NULL, *hash = NULL;
	RSA_OAEP_PARAMS *oaep = NULL;
	bool good = false;

	if (CMS_RecipientInfo_ktri_get0_algs(recipient, NULL, NULL, &alg) != 1 || !alg ||
	    OBJ_obj2nid(alg->algorithm) != NID_rsaesOaep)
		return false;
	oaep = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(RSA_OAEP_PARAMS), alg->parameter);
	if (oaep && oaep->hashFunc && oaep->maskGenFunc &&
	    OBJ_obj2nid(oaep->hashFunc->algorithm) == NID_sha256 &&
	    OBJ_obj2nid(oaep->maskGenFunc->algorithm) == NID_mgf1) {
		hash = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(X509_ALGOR),
						 oaep->maskGenFunc->parameter);
		good = hash && OBJ_obj2nid(hash->algorithm) == NID_sha256;
	}
	X509_ALGOR_free(hash);
	RSA_OAEP_PARAMS_free(oaep);
	return good;
}

static int check_envelope(CMS_ContentInfo *cms, struct error *err)
{
	STACK_OF(CMS_RecipientInfo) * recipients;
	CMS_RecipientInfo *recipient;

	if (OBJ_obj2nid(CMS_get0_type(cms)) != NID_pkcs7_enveloped)
		return malformed(err, "it is not EnvelopedData");
	recipients = CMS_get0_RecipientInfos(cms);
	if (!recipients || sk_CMS_RecipientInfo_num(recipients) != 1)
		return malformed(err, "it has not exactly one recipient");
	recipient = sk_CMS_RecipientInfo_value(recipients, 0);
	if (CMS_RecipientInfo_type(recipient) != CMS_RECIPINFO_TRANS)
		return malformed(err, "its recipient is not an RSA key");
	if (!is_oaep_sha256(recipient))
		return malformed(err, "its key is not wrapped by RSAES-OAEP with SHA-256");
	return 0;
}

static int decrypt(CMS_ContentInfo *cms, EVP_PKEY *key, size_t key_size, struct secret **ret,
		   struct error *err)
{
	_cleanup_(bio_freep) BIO *out = BIO_new(BIO_s_secmem()); /* wiped when freed */
	char *plain = NULL;
	long size;
	int e;

	if (!out)
		return error_set(err, -ENOMEM, "out of memory");
	if (CMS_decrypt(cms, key, NULL, NULL, out, 0) != 1)
		return error_set(err, -EBADMSG,
				 "the key that KMS returned cannot be decrypted with the key "
				 "that was attested");
	size = BIO_get_mem_data(out, &plain);
	if (size < 0 || (size_t)size != key_size)
		return error_set(err, -EBADMSG, "the key that KMS returned has not %zu bytes",
				 key_size);
	e = secret_new_from(plain, key_size, ret);
	return e < 0 ? error_set(err, e, "no memory for a key") : 0;
}

int cms_open(const uint8_t *ber, size_t size, EVP_PKEY *key, size_t key_size, struct secret **ret,
	     struct error *err)
{
	_cleanup_(content_info_freep) CMS_ContentInfo *cms = NULL;
	const unsigned char *p = ber;
	int e;

	if (size == 0 || size > CMS_SIZE_MAX)
		return malformed(err, "its size is out of range");
	cms = d2i_CMS_ContentInfo(NULL, &p, (long)size);
	if (!cms)
		e = malformed(err, "it is not CMS");
	else if (p != ber + size)
		e = malformed(err, "bytes follow it");
	else
		e = check_envelope(cms, err);
	if (e == 0)
		e = decrypt(cms, key, key_size, ret, err);
	ERR_clear_error();
	return e;
}
