/*
 * Measurement log records. Job: encode ours, decode anyone's. Trusts nothing in a log but its
 * form: the PCR decides whether a log is true. Must never write a record that it would not read
 * back to the same values.
 */
#include "attest/event_record.h"

#include "crypto/base/encode.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <time.h>

#define CONTENT_TYPE "io.sealedfs"
#define RECORD_SEPARATOR 0x1e
#define BOOT_ID_PATH "/proc/sys/kernel/random/boot_id"
#define BANKS_LISTED_MAX 16

#define _cleanup_json_ _cleanup_(json_decrefp)

static const enum digest_alg known_algs[] = {DIGEST_SHA1, DIGEST_SHA256, DIGEST_SHA384,
					     DIGEST_SHA512};

int event_boot_id(char out[EVENT_BOOT_ID_SIZE], struct error *err)
{
	_cleanup_close_ int fd = open(BOOT_ID_PATH, O_RDONLY | O_CLOEXEC);
	char text[64];
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));
	size_t digits = 0;

	for (ssize_t i = 0; i < n && digits < EVENT_BOOT_ID_SIZE - 1; i++)
		if (text[i] != '-' && text[i] != '\n')
			out[digits++] = text[i];
	out[digits] = '\0';
	if (digits != EVENT_BOOT_ID_SIZE - 1)
		return error_set(err, -EIO, "cannot read %s", BOOT_ID_PATH);
	return 0;
}

static json_t *encode_banks(const struct pcr_values *v)
{
	_cleanup_json_ json_t *array = json_array();

	for (size_t n = 0; n < v->bank_count; n++) {
		char hex[2 * DIGEST_SIZE_MAX + 1];

		hex_encode(v->banks[n].value, digest_size(v->banks[n].alg), hex);
		if (json_array_append_new(array, json_pack("{s:s, s:s}", "hashAlg",
							   digest_name(v->banks[n].alg), "digest",
							   hex)) < 0)
			return NULL;
	}
	return steal_ptr(array);
}

/* JSON holds UTF-8 only, and an object's name can be any bytes. */
static json_t *encode_name(const char *name)
{
	char ascii[EVENT_NAME_MAX + 1];
	size_t size = name ? strnlen(name, EVENT_NAME_MAX) : 0;
	json_t *text = size > 0 ? json_stringn(name, size) : json_string("");

	if (text)
		return text;
	for (size_t n = 0; n < size; n++)
		ascii[n] = (char)((unsigned char)name[n] < 0x80 ? name[n] : '?');
	ascii[size] = '\0';
	return json_string(ascii);
}

static json_t *encode_content(const struct measure_event *event, const struct pcr_values *before,
			      const char *boot_id)
{
	bool whole = event->mode == MEASURE_SHA384 || event->mode == MEASURE_DECLARED;
	char text[MEASURE_TEXT_MAX], hex[2 * DIGEST_SIZE_MAX + 1];
	_cleanup_json_ json_t *content = NULL;
	struct timespec now;
	int bad = 0;

	if (measure_text(event->mode, &event->digests, text) < 0 ||
	    clock_gettime(CLOCK_BOOTTIME, &now) < 0)
		return NULL;
	content = json_pack("{s:s, s:s, s:s, s:I, s:s}", "eventType", "model", "string", text,
			    "bootId", boot_id, "timestamp",
			    (json_int_t)now.tv_sec * 1000000 + now.tv_nsec / 1000, "mode",
			    measure_mode_name(event->mode));
	bad |= json_object_set_new(content, "model", encode_name(event->name));
	if (event->mode == MEASURE_VERITY) {
		hex_encode(event->digests.verity, sizeof(event->digests.verity), hex);
		bad |= json_object_set_new(content, "verity", json_string(hex));
	} else {
		hex_encode(event->digests.sha256, sizeof(event->digests.sha256), hex);
		bad |= json_object_set_new(content, "sha256", json_string(hex));
	}
	if (whole) {
		hex_encode(event->digests.sha384, sizeof(event->digests.sha384), hex);
		bad |= json_object_set_new(content, "sha384", json_string(hex));
	}
	if (before)
		bad |= json_object_set_new(content, "before", encode_banks(before));
	return bad ? NULL : steal_ptr(content);
}

int event_record_encode(const struct measure_event *event, const struct pcr_values *digests,
			const struct pcr_values *before, const char *boot_id, uint8_t **ret,
			size_t *ret_size, struct error *err)
{
	_cleanup_json_ json_t *record = NULL;
	_cleanup_free_ char *text = NULL;
	uint8_t *framed;
	size_t size;

	record = json_pack("{s:I, s:o, s:s, s:o}", "pcr", (json_int_t)event->pcr, "digests",
			   encode_banks(digests), "content_type", CONTENT_TYPE, "content",
			   encode_content(event, before, boot_id));
	text = record ? json_dumps(record, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
	if (!text)
		return error_set(err, -ENOMEM, "cannot make a record for the measurement log");
	size = strlen(text);
	framed = malloc(size + 2);
	if (!framed)
		return error_set(err, -ENOMEM, "out of memory");
	framed[0] = RECORD_SEPARATOR;
	memcpy(framed + 1, text, size);
	framed[size + 1] = '\n';
	*ret = framed;
	*ret_size = size + 2;
	return 0;
}

/* Banks ascending and each once; algorithms that this version cannot compute are passed over. */
static int decode_banks(const json_t *array, struct pcr_values *ret)
{
	struct pcr_values v = {.pcr = ret->pcr};
	size_t listed = json_array_size(array);

	if (!json_is_array(array) || listed == 0 || listed > BANKS_LISTED_MAX)
		return -EPROTO;
	for (size_t a = 0; a < ARRAY_LEN(known_algs); a++) {
		struct pcr_bank_value *bank = &v.banks[v.bank_count];
		bool found = false;

		for (size_t n = 0; n < listed; n++) {
			json_t *entry = json_array_get(array, n);
			const char *alg = json_string_value(json_object_get(entry, "hashAlg"));
			const char *hex = json_string_value(json_object_get(entry, "digest"));

			if (!alg || !hex)
				return -EPROTO;
			if (strcmp(alg, digest_name(known_algs[a])) != 0)
				continue;
			if (found || hex_decode(hex, bank->value, digest_size(known_algs[a])) < 0)
				return -EPROTO;
			bank->alg = known_algs[a];
			found = true;
		}
		v.bank_count += found;
	}
	*ret = v;
	return 0;
}

static int decode_content(const json_t *content, struct event_record *r)
{
	const char *type = json_string_value(json_object_get(content, "eventType"));
	const char *mode = json_string_value(json_object_get(content, "mode"));
	const char *boot_id = json_string_value(json_object_get(content, "bootId"));
	const json_t *before = json_object_get(content, "before");

	if (!type || strcmp(type, "model") != 0 || !mode || !boot_id)
		return -EPROTO;
	if (measure_mode_parse(mode, &r->mode) < 0 || r->mode == MEASURE_NONE)
		return -EPROTO;
	if (strlen(boot_id) != EVENT_BOOT_ID_SIZE - 1)
		return -EPROTO;
	memcpy(r->boot_id, boot_id, EVENT_BOOT_ID_SIZE);
	r->has_before = before != NULL;
	r->before.pcr = r->digests.pcr;
	return before ? decode_banks(before, &r->before) : 0;
}

static int decode_object(const json_t *record, struct event_record *ret)
{
	const char *type = json_string_value(json_object_get(record, "content_type"));
	const json_t *pcr = json_object_get(record, "pcr");
	struct event_record r = {0};
	int e;

	if (!json_is_object(record) || !type)
		return -EPROTO;
	if (!pcr)
		return 0;
	if (!json_is_integer(pcr) || json_integer_value(pcr) < 0 ||
	    json_integer_value(pcr) >= PCR_COUNT)
		return -EPROTO;
	r.digests.pcr = (unsigned)json_integer_value(pcr);
	e = decode_banks(json_object_get(record, "digests"), &r.digests);
	if (e < 0)
		return e;
	r.is_model = strcmp(type, CONTENT_TYPE) == 0;
	if (r.is_model) {
		e = decode_content(json_object_get(record, "content"), &r);
		if (e < 0)
			return e;
	}
	*ret = r;
	return 1;
}

int event_record_decode(const uint8_t *bytes, size_t size, struct event_record *ret,
			size_t *ret_size)
{
	_cleanup_json_ json_t *record = NULL;
	const uint8_t *end;
	size_t length;
	int e;

	if (size == 0)
		return -ENODATA;
	if (bytes[0] != RECORD_SEPARATOR)
		return -EPROTO;
	end = memchr(bytes, '\n', MIN(size, (size_t)EVENT_RECORD_MAX));
	if (!end)
		return size < EVENT_RECORD_MAX ? -ENODATA : -EPROTO;
	length = (size_t)(end - bytes) + 1;
	record = json_loadb((const char *)bytes + 1, length - 2, JSON_REJECT_DUPLICATES, NULL);
	if (!record)
		return -EPROTO;
	e = decode_object(record, ret);
	if (e >= 0)
		*ret_size = length;
	return e;
}

static const struct pcr_bank_value *find_bank(const struct pcr_values *v, enum digest_alg alg)
{
	for (size_t n = 0; n < v->bank_count; n++)
		if (v->banks[n].alg == alg)
			return &v->banks[n];
	return NULL;
}

void event_record_start(const struct event_record *r, struct pcr_values *value)
{
	for (size_t n = 0; n < value->bank_count; n++) {
		const struct pcr_bank_value *bank = find_bank(&r->before, value->banks[n].alg);

		if (bank)
			value->banks[n] = *bank;
		else
			memset(value->banks[n].value, 0, sizeof(value->banks[n].value));
	}
}

int event_record_apply(const struct event_record *r, struct pcr_values *value)
{
	for (size_t n = 0; n < value->bank_count; n++) {
		struct pcr_bank_value *bank = &value->banks[n];
		const struct pcr_bank_value *digest = find_bank(&r->digests, bank->alg);
		int e;

		if (!digest)
			return -EPROTO;
		e = pcr_extend_value(bank->alg, bank->value, digest->value);
		if (e < 0)
			return e;
	}
	return 0;
}
