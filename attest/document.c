/*
 * Attestation documents. Job: take a COSE_Sign1 apart into the fields that AWS defines. Trusts
 * nothing: every field has one limit, checked before a byte is kept; a key that occurs twice is
 * refused, so that two readers of one document cannot see different values. Unknown keys are
 * skipped. The form of the whole is checked before the first value. Must never verify or decide
 * anything: a parsed document is a claim.
 */
#include "attest/document.h"

#include "attest/cbor_read.h"

#include <errno.h>
#include <string.h>

#define PROTECTED_MAX 256
#define PAYLOAD_MAX 16384
#define SIGNATURE_SIZE 96 /* ES384: r, s */
#define CERTIFICATE_MAX 1024
#define PAYLOAD_KEYS_MAX 32
#define NITROTPM_PCRS 24
#define SHA384_BYTES 48
#define TIMESTAMP_END ((uint64_t)1 << 53) /* what a number of JSON holds */
#define COSE_TAG_SIGN1 18
#define COSE_HEADER_ALG 1
#define COSE_HEADER_CRIT 2
#define COSE_ALG_ES384 34 /* -35, as CBOR encodes it */

struct owned_document {
	struct attest_doc doc; /* first: a pointer to it is a pointer to this */
	uint8_t *bytes;
};

/* What every step of one parse needs. */
struct parse {
	struct attest_doc *doc;
	struct error *err;
	const char *field; /* whose rule is checked; NULL: the form is */
};

static int refuse(const struct parse *p, const char *what)
{
	return error_set(p->err, -EPROTO, "attestation document: %s", what);
}

static int take_bytes(const struct parse *p, struct item_reader *in, size_t min, size_t max,
		      struct bytes_view *ret, const char *what)
{
	struct item i;

	if (item_expect(in, ITEM_BYTES, &i) < 0)
		return error_set(p->err, -EPROTO, "attestation document: %s is not a byte string",
				 what);
	if (i.size < min || i.size > max)
		return error_set(p->err, -EPROTO,
				 "attestation document: %s has %zu bytes, allowed are %zu to %zu",
				 what, i.size, min, max);
	*ret = (struct bytes_view){.data = i.data, .size = i.size};
	return 0;
}

static int take_optional(const struct parse *p, struct item_reader *in, size_t min,
			 struct bytes_view *ret, const char *what)
{
	struct item_reader ahead = *in;
	struct item i;

	/* The specification omits what is absent; the hardware writes null. */
	if (item_next(&ahead, &i) == 0 && i.kind == ITEM_NULL) {
		*in = ahead;
		return 0;
	}
	return take_bytes(p, in, min, DOCUMENT_FIELD_MAX, ret, what);
}

static int take_module_id(const struct parse *p, struct item_reader *in)
{
	struct item i;

	if (item_expect(in, ITEM_TEXT, &i) < 0 || i.size == 0 || i.size > DOCUMENT_MODULE_ID_MAX)
		return refuse(p, "module_id is not a text of 1 to 255 bytes");
	/* Every reader of the document prints it. */
	for (size_t n = 0; n < i.size; n++)
		if (i.data[n] <= 0x20 || i.data[n] >= 0x7f)
			return refuse(p, "module_id has a character that is not printable ASCII");
	p->doc->module_id = strndup((const char *)i.data, i.size);
	if (!p->doc->module_id)
		return error_set(p->err, -ENOMEM, "out of memory");
	return 0;
}

static int take_digest_name(const struct parse *p, struct item_reader *in)
{
	struct item i;

	if (item_expect(in, ITEM_TEXT, &i) < 0 || !item_text_is(&i, "SHA384"))
		return refuse(p, "digest is not \"SHA384\"");
	return 0;
}

static int take_timestamp(const struct parse *p, struct item_reader *in)
{
	struct item i;

	if (item_expect(in, ITEM_UINT, &i) < 0 || i.value == 0)
		return refuse(p, "timestamp is not a positive integer");
	if (i.value >= TIMESTAMP_END)
		return refuse(p, "timestamp is beyond what every reader can hold");
	p->doc->timestamp_ms = i.value;
	return 0;
}

static int take_pcrs(const struct parse *p, struct item_reader *in, enum document_kind kind)
{
	unsigned limit = kind == DOCUMENT_NITROTPM ? NITROTPM_PCRS : DOCUMENT_PCRS_MAX;
	struct item map, index;
	struct bytes_view v = {0};
	unsigned count = 0;
	uint64_t left;
	int r;

	if (item_expect(in, ITEM_MAP, &map) < 0)
		return refuse(p, "the PCRs are not a map");
	left = map.value;
	while ((r = item_more(in, &map, &left)) > 0) {
		if (item_expect(in, ITEM_UINT, &index) < 0 || index.value >= limit)
			return refuse(p, "a PCR number is out of range");
		if (p->doc->pcrs[index.value].present)
			return refuse(p, "a PCR occurs twice");
		r = take_bytes(p, in, SHA384_BYTES, SHA384_BYTES, &v, "a PCR value");
		if (r < 0)
			return r;
		p->doc->pcrs[index.value].present = true;
		p->doc->pcrs[index.value].size = (uint8_t)v.size;
		memcpy(p->doc->pcrs[index.value].value, v.data, v.size);
		count++;
	}
	if (r < 0)
		return refuse(p, "the map of PCRs is cut short");
	if (count == 0)
		return refuse(p, "it has no PCRs");
	p->doc->kind = kind;
	return 0;
}

static int take_cabundle(const struct parse *p, struct item_reader *in)
{
	struct item array;
	uint64_t left;
	int r;

	if (item_expect(in, ITEM_ARRAY, &array) < 0)
		return refuse(p, "cabundle is not an array");
	left = array.value;
	while ((r = item_more(in, &array, &left)) > 0) {
		if (p->doc->cabundle_count == DOCUMENT_CERTS_MAX)
			return refuse(p, "cabundle has more than 8 certificates");
		r = take_bytes(p, in, 1, CERTIFICATE_MAX, &p->doc->cabundle[p->doc->cabundle_count],
			       "a certificate of cabundle");
		if (r < 0)
			return r;
		p->doc->cabundle_count++;
	}
	if (r < 0)
		return refuse(p, "cabundle is cut short");
	if (p->doc->cabundle_count == 0)
		return refuse(p, "cabundle is empty");
	return 0;
}

/* In the order in which the rules of a document are checked. */
enum payload_key {
	KEY_MODULE_ID,
	KEY_DIGEST,
	KEY_TIMESTAMP,
	KEY_PCRS,
	KEY_NITROTPM_PCRS,
	KEY_CERTIFICATE,
	KEY_CABUNDLE,
	KEY_PUBLIC_KEY,
	KEY_USER_DATA,
	KEY_NONCE,
	KEY_UNKNOWN,
};

static const char *const key_names[] = {
	[KEY_MODULE_ID] = "module_id",	       [KEY_DIGEST] = "digest",
	[KEY_TIMESTAMP] = "timestamp",	       [KEY_PCRS] = "pcrs",
	[KEY_NITROTPM_PCRS] = "nitrotpm_pcrs", [KEY_CERTIFICATE] = "certificate",
	[KEY_CABUNDLE] = "cabundle",	       [KEY_PUBLIC_KEY] = "public_key",
	[KEY_USER_DATA] = "user_data",	       [KEY_NONCE] = "nonce",
};

static enum payload_key key_of(const struct item *key)
{
	for (size_t k = 0; k < ARRAY_LEN(key_names); k++)
		if (item_text_is(key, key_names[k]))
			return (enum payload_key)k;
	return KEY_UNKNOWN;
}

static int take_value(const struct parse *p, struct item_reader *in, enum payload_key key)
{
	struct attest_doc *d = p->doc;

	switch (key) {
	case KEY_MODULE_ID:
		return take_module_id(p, in);
	case KEY_DIGEST:
		return take_digest_name(p, in);
	case KEY_TIMESTAMP:
		return take_timestamp(p, in);
	case KEY_PCRS:
		return take_pcrs(p, in, DOCUMENT_ENCLAVE);
	case KEY_NITROTPM_PCRS:
		return take_pcrs(p, in, DOCUMENT_NITROTPM);
	case KEY_CERTIFICATE:
		return take_bytes(p, in, 1, CERTIFICATE_MAX, &d->certificate, "certificate");
	case KEY_CABUNDLE:
		return take_cabundle(p, in);
	case KEY_PUBLIC_KEY:
		return take_optional(p, in, 1, &d->public_key, "public_key");
	case KEY_USER_DATA:
		return take_optional(p, in, 0, &d->user_data, "user_data");
	default:
		return take_optional(p, in, 0, &d->nonce, "nonce");
	}
}

/* Where the values of the known keys begin; data NULL: the key is not there. */
struct values {
	struct item_reader at[KEY_UNKNOWN];
};

/* The payload's form, whatever its values say. */
static int find_values(const struct parse *p, struct values *ret)
{
	struct item_reader in = item_reader_init(p->doc->payload.data, p->doc->payload.size);
	struct item map, keys[PAYLOAD_KEYS_MAX];
	size_t count = 0;
	uint64_t left;
	int r;

	if (item_expect(&in, ITEM_MAP, &map) < 0)
		return refuse(p, "the payload is not a map");
	left = map.value;
	while ((r = item_more(&in, &map, &left)) > 0) {
		if (count == PAYLOAD_KEYS_MAX)
			return refuse(p, "the payload has more than 32 keys");
		if (item_expect(&in, ITEM_TEXT, &keys[count]) < 0)
			return refuse(p, "a key of the payload is not a text");
		for (size_t n = 0; n < count; n++)
			if (keys[n].size == keys[count].size &&
			    memcmp(keys[n].data, keys[count].data, keys[n].size) == 0)
				return refuse(p, "a key of the payload occurs twice");
		if (key_of(&keys[count]) != KEY_UNKNOWN)
			ret->at[key_of(&keys[count])] = in;
		if (item_skip(&in, 1) < 0)
			return refuse(p, "the value of a key is malformed");
		count++;
	}
	if (r < 0)
		return refuse(p, "the payload is cut short");
	return in.pos == in.size ? 0 : refuse(p, "bytes follow the payload's map");
}

static bool is_mandatory(enum payload_key key)
{
	return key != KEY_PCRS && key != KEY_NITROTPM_PCRS && key < KEY_PUBLIC_KEY;
}

static int parse_payload(struct parse *p)
{
	struct values values = {0};
	int r = find_values(p, &values);

	for (enum payload_key key = 0; r == 0 && key < KEY_UNKNOWN; key++) {
		struct item_reader *in = &values.at[key];

		p->field = key_names[key];
		if (key == KEY_PCRS && !in->data == !values.at[KEY_NITROTPM_PCRS].data)
			return refuse(p, "it needs either pcrs or nitrotpm_pcrs");
		if (in->data)
			r = take_value(p, in, key);
		else if (is_mandatory(key))
			r = error_set(p->err, -EPROTO, "attestation document: %s is missing",
				      key_names[key]);
	}
	return r;
}

/* {1: -35} in all real documents. Other headers may stand beside it, but none marked critical. */
static int parse_protected(const struct parse *p)
{
	struct item_reader in =
		item_reader_init(p->doc->protected_header.data, p->doc->protected_header.size);
	struct item map, label, alg;
	bool has_alg = false;
	uint64_t left;
	int r;

	if (item_expect(&in, ITEM_MAP, &map) < 0)
		return refuse(p, "the protected header is not a map");
	left = map.value;
	while ((r = item_more(&in, &map, &left)) > 0) {
		if (item_next(&in, &label) < 0 ||
		    (label.kind != ITEM_UINT && label.kind != ITEM_NEGINT &&
		     label.kind != ITEM_TEXT))
			return refuse(p, "the protected header is malformed");
		if (label.kind == ITEM_UINT && label.value == COSE_HEADER_CRIT)
			return refuse(p,
				      "it has a critical header that this version does not know");
		if (label.kind == ITEM_UINT && label.value == COSE_HEADER_ALG) {
			if (has_alg)
				return refuse(p, "its algorithm occurs twice");
			if (item_expect(&in, ITEM_NEGINT, &alg) < 0 || alg.value != COSE_ALG_ES384)
				return refuse(p, "its algorithm is not ES384");
			has_alg = true;
		} else if (item_skip(&in, 1) < 0) {
			return refuse(p, "the protected header is malformed");
		}
	}
	if (r < 0 || in.pos != in.size)
		return refuse(p, "the protected header is malformed");
	return has_alg ? 0 : refuse(p, "its algorithm is missing");
}

static int parse_cose(struct parse *p, struct item_reader *in)
{
	struct attest_doc *d = p->doc;
	struct item_reader ahead;
	struct item i;
	uint64_t left;
	size_t open = 1; /* the array */
	int r;

	if (item_next(in, &i) < 0)
		return refuse(p, "it is not CBOR");
	if (i.kind == ITEM_TAG && i.value == COSE_TAG_SIGN1) {
		open++;
		if (item_next(in, &i) < 0)
			return refuse(p, "it is cut short");
	}
	if (i.kind != ITEM_ARRAY || (!i.indefinite && i.value != 4))
		return refuse(p, "it is not a COSE_Sign1 (array of four)");
	r = take_bytes(p, in, 1, PROTECTED_MAX, &d->protected_header, "the protected header");
	if (r < 0)
		return r;
	ahead = *in;
	if (item_expect(&ahead, ITEM_MAP, &(struct item){0}) < 0 || item_skip(in, open) < 0)
		return refuse(p, "the unprotected header is not a map");
	r = take_bytes(p, in, 1, PAYLOAD_MAX, &d->payload, "the payload");
	if (r < 0)
		return r;
	r = take_bytes(p, in, SIGNATURE_SIZE, SIGNATURE_SIZE, &d->signature, "the signature");
	if (r < 0)
		return r;
	left = 0;
	if (item_more(in, &i, &left) != 0)
		return refuse(p, "it is not a COSE_Sign1 (array of four)");
	if (in->pos != in->size)
		return refuse(p, "bytes follow its end");
	r = parse_protected(p);
	return r < 0 ? r : parse_payload(p);
}

int document_parse(const uint8_t *bytes, size_t size, struct attest_doc **ret, struct error *err)
{
	return document_parse_by_rule(bytes, size, ret, &(const char *){NULL}, err);
}

int document_parse_by_rule(const uint8_t *bytes, size_t size, struct attest_doc **ret,
			   const char **ret_field, struct error *err)
{
	_cleanup_(document_freep) struct attest_doc *d = NULL;
	struct parse p = {.err = err};
	struct owned_document *owned;
	struct item_reader in;
	int r;

	*ret_field = NULL;
	if (size == 0)
		return refuse(&p, "it is empty");
	if (size > DOCUMENT_SIZE_MAX)
		return error_set(err, -EPROTO,
				 "attestation document: %zu bytes, allowed are at most %d", size,
				 DOCUMENT_SIZE_MAX);
	owned = calloc(1, sizeof(*owned));
	if (!owned)
		return error_set(err, -ENOMEM, "out of memory");
	d = &owned->doc;
	owned->bytes = malloc(size);
	if (!owned->bytes)
		return error_set(err, -ENOMEM, "out of memory");
	memcpy(owned->bytes, bytes, size);

	p.doc = d;
	in = item_reader_init(owned->bytes, size);
	r = parse_cose(&p, &in);
	if (r < 0) {
		*ret_field = p.field;
		return r;
	}
	*ret = steal_ptr(d);
	return 0;
}

void document_free(struct attest_doc *d)
{
	struct owned_document *owned = (struct owned_document *)d;

	if (!d)
		return;
	free(d->module_id);
	free(owned->bytes);
	free(owned);
}
