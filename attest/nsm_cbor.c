/*
 * NSM messages. Job: one request, one response. Trusts nothing that it decodes: the response comes
 * out of an NV index that other processes can write. Must never read past the first CBOR item.
 * libcbor encodes the request's heads into the caller's buffer; cbor_read.c decodes.
 */
#include "attest/nsm_cbor.h"

#include "attest/cbor_read.h"

#include <cbor.h>
#include <errno.h>
#include <string.h>

/* libcbor's encoders write nothing and return 0 when there is no room. */
struct writer {
	uint8_t *out;
	size_t size;
	bool full;
};

static uint8_t *room(const struct writer *w, size_t *ret_left)
{
	*ret_left = NSM_REQUEST_MAX - w->size;
	return w->out + w->size;
}

static void wrote(struct writer *w, size_t head_size)
{
	w->size += head_size;
	w->full |= head_size == 0;
}

static void write_map(struct writer *w, size_t pairs)
{
	size_t left;
	uint8_t *at = room(w, &left);

	wrote(w, cbor_encode_map_start(pairs, at, left));
}

/* What follows the head of a string. */
static void write_content(struct writer *w, const void *data, size_t size)
{
	size_t left;
	uint8_t *at = room(w, &left);

	if (w->full || size > left) {
		w->full = true;
		return;
	}
	if (size > 0)
		memcpy(at, data, size);
	w->size += size;
}

static void write_text(struct writer *w, const char *text)
{
	size_t left, size = strlen(text);
	uint8_t *at = room(w, &left);

	wrote(w, cbor_encode_string_start(size, at, left));
	write_content(w, text, size);
}

static void write_optional(struct writer *w, const uint8_t *data, size_t size)
{
	size_t left;
	uint8_t *at = room(w, &left);

	if (!data) {
		wrote(w, cbor_encode_null(at, left));
		return;
	}
	wrote(w, cbor_encode_bytestring_start(size, at, left));
	write_content(w, data, size);
}

int nsm_encode_attestation(const struct attest_request *req, uint8_t out[NSM_REQUEST_MAX],
			   size_t *ret_size, struct error *err)
{
	struct writer w = {.out = out};

	if (req->user_data_size > DOCUMENT_FIELD_MAX || req->nonce_size > DOCUMENT_FIELD_MAX ||
	    req->public_key_size > DOCUMENT_FIELD_MAX)
		return error_set(err, -E2BIG,
				 "user data, nonce and public key of an attestation document have "
				 "at most %d bytes each",
				 DOCUMENT_FIELD_MAX);
	write_map(&w, 1);
	write_text(&w, "Attestation");
	write_map(&w, 3);
	write_text(&w, "user_data");
	write_optional(&w, req->user_data, req->user_data_size);
	write_text(&w, "nonce");
	write_optional(&w, req->nonce, req->nonce_size);
	write_text(&w, "public_key");
	write_optional(&w, req->public_key, req->public_key_size);
	if (w.full)
		return error_set(err, -E2BIG, "an attestation request has at most %d bytes",
				 NSM_REQUEST_MAX);
	*ret_size = w.size;
	return 0;
}

int nsm_encode_call(const struct nsm_call *c, uint8_t out[NSM_REQUEST_MAX], size_t *ret_size,
		    struct error *err)
{
	struct writer w = {.out = out};
	size_t fields = (size_t)c->has_index + (c->data != NULL), left;
	uint8_t *at;

	if (fields > 0)
		write_map(&w, 1);
	write_text(&w, c->name);
	if (fields > 0)
		write_map(&w, fields);
	if (c->has_index) {
		write_text(&w, "index");
		at = room(&w, &left);
		wrote(&w, cbor_encode_uint(c->index, at, left));
	}
	if (c->data) {
		write_text(&w, "data");
		write_optional(&w, c->data, c->data_size);
	}
	if (w.full)
		return error_set(err, -E2BIG, "a request has at most %d bytes", NSM_REQUEST_MAX);
	*ret_size = w.size;
	return 0;
}

int nsm_response_complete(const uint8_t *bytes, size_t size)
{
	struct item_reader in = item_reader_init(bytes, size);

	return item_skip(&in, 0);
}

static int malformed(struct error *err)
{
	return error_set(err, -EPROTO, "the TPM's answer is not an attestation response");
}

/* refusal: what was refused by whom. */
static int decode_error(struct item_reader *in, const char *refusal, struct error *err)
{
	static const struct {
		const char *name;
		int code;
		const char *means;
	} known[] = {
		{"InputTooLarge", -E2BIG, "user data, nonce or public key are too large"},
		{"BufferTooSmall", -EIO, "the mailbox is too small for the document"},
		{"InvalidArgument", -EIO, "it does not understand the request"},
		{"InvalidOperation", -EOPNOTSUPP, "it does not make attestation documents"},
		{"InvalidResponse", -EIO, "it could not make a response"},
		{"InvalidIndex", -EINVAL, "it has no such PCR"},
		{"ReadOnlyIndex", -EKEYREJECTED, "the PCR is locked"},
		{"InternalError", -EIO, "an error inside it"},
	};
	struct item i;

	if (item_expect(in, ITEM_TEXT, &i) < 0 || i.size > 64)
		return malformed(err);
	for (size_t n = 0; n < ARRAY_LEN(known); n++)
		if (item_text_is(&i, known[n].name))
			return error_set(err, known[n].code, "%s: %s (%s)", refusal, known[n].means,
					 known[n].name);
	for (size_t n = 0; n < i.size; n++)
		if (i.data[n] < 0x20 || i.data[n] >= 0x7f)
			return malformed(err);
	return error_set(err, -EIO, "%s: %.*s", refusal, (int)i.size, (const char *)i.data);
}

/* Enters a map that must have exactly one text key, and returns that key. */
static int enter_single(struct item_reader *in, struct item *map, struct item *key)
{
	if (item_expect(in, ITEM_MAP, map) < 0 || (!map->indefinite && map->value != 1))
		return -EPROTO;
	return item_expect(in, ITEM_TEXT, key);
}

int nsm_decode_attestation(const uint8_t *bytes, size_t size, struct bytes_view *ret,
			   struct error *err)
{
	struct item_reader in = item_reader_init(bytes, size);
	struct item outer, inner, key, document;
	uint64_t none = 0;

	if (nsm_response_complete(bytes, size) < 0)
		return malformed(err);
	if (enter_single(&in, &outer, &key) < 0)
		return malformed(err);
	if (item_text_is(&key, "Error"))
		return decode_error(&in, "the TPM refused to make an attestation document", err);
	if (!item_text_is(&key, "Attestation") || enter_single(&in, &inner, &key) < 0 ||
	    !item_text_is(&key, "document") || item_expect(&in, ITEM_BYTES, &document) < 0 ||
	    item_more(&in, &inner, &none) != 0 || item_more(&in, &outer, &none) != 0)
		return malformed(err);
	*ret = (struct bytes_view){.data = document.data, .size = document.size};
	return 0;
}

static int decode_field(struct item_reader *in, const struct item *key, struct nsm_answer *a)
{
	struct item value;
	int r;

	if (item_text_is(key, "lock")) {
		r = item_expect(in, ITEM_BOOL, &value);
		if (r < 0 || a->has_lock)
			return -EPROTO;
		a->has_lock = true;
		a->lock = value.value != 0;
		return 0;
	}
	if (!item_text_is(key, "data") && !item_text_is(key, "random"))
		return item_skip(in, 2);
	r = item_expect(in, ITEM_BYTES, &value);
	if (r < 0 || a->data.data)
		return -EPROTO;
	a->data = (struct bytes_view){.data = value.data, .size = value.size};
	return 0;
}

/* What follows the name in its map. */
static int decode_fields(struct item_reader *in, struct nsm_answer *a)
{
	struct item map, key;
	uint64_t left;
	int r = item_expect(in, ITEM_MAP, &map);

	if (r < 0)
		return r;
	left = map.value;
	while ((r = item_more(in, &map, &left)) == 1) {
		r = item_expect(in, ITEM_TEXT, &key);
		if (r == 0)
			r = decode_field(in, &key, a);
		if (r < 0)
			return r;
	}
	return r;
}

static int not_an_answer(const char *name, struct error *err)
{
	return error_set(err, -EPROTO, "the Nitro Secure Module's answer to %s makes no sense",
			 name);
}

int nsm_decode_answer(const uint8_t *bytes, size_t size, const char *name, struct nsm_answer *ret,
		      struct error *err)
{
	struct item_reader in = item_reader_init(bytes, size);
	struct nsm_answer a = {0};
	struct item outer, key;
	uint64_t none = 0;
	char refusal[64];

	if (nsm_response_complete(bytes, size) < 0 || item_next(&in, &outer) < 0)
		return not_an_answer(name, err);
	if (outer.kind == ITEM_TEXT) {
		if (!item_text_is(&outer, name) || in.pos != size)
			return not_an_answer(name, err);
		*ret = a;
		return 0;
	}
	in = item_reader_init(bytes, size);
	if (enter_single(&in, &outer, &key) < 0)
		return not_an_answer(name, err);
	(void)snprintf(refusal, sizeof(refusal), "the Nitro Secure Module refused %s", name);
	if (item_text_is(&key, "Error"))
		return decode_error(&in, refusal, err);
	if (!item_text_is(&key, name) || decode_fields(&in, &a) < 0 ||
	    item_more(&in, &outer, &none) != 0 || in.pos != size)
		return not_an_answer(name, err);
	*ret = a;
	return 0;
}
