/*
 * Measurement log records. Job: encode ours, decode ours and others'. Trusts only the form of a
 * log: the PCR decides whether its content is true. Must never write a record that decodes to other
 * values.
 */
#include "attest/event_record.h"

#include "crypto/base/encode.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <time.h>

#define CONTENT_TYPE "io.sealedfs"
#define SYSTEMD_TYPE "systemd"
#define TYPE_MODEL "model"
#define TYPE_START "start"
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

static int add_hex(json_t *to, const char *name, const uint8_t *bytes, size_t size)
{
	char hex[2 * DIGEST_SIZE_MAX + 1];

	hex_encode(bytes, size, hex);
	return json_object_set_new(to, name, json_string(hex));
}

/* What the mode measures, and no other digest. */
static int add_model(json_t *to, const struct measure_event *m)
{
	const struct model_digests *d = &m->digests;
	int bad = json_object_set_new(to, "mode", json_string(measure_mode_name(m->mode)));

	bad |= json_object_set_new(to, "model", encode_name(m->name));
	if (m->mode == MEASURE_SET) {
		bad |= add_hex(to, "set", d->set, sizeof(d->set));
		bad |= add_hex(to, "setId", m->set_id, sizeof(m->set_id));
		bad |= json_object_set_new(to, "setVersion",
					   json_integer((json_int_t)m->set_version));
		return bad | json_object_set_new(to, "setMembers",
						 json_integer((json_int_t)m->set_members));
	}
	if (m->mode == MEASURE_VERITY)
		return bad | add_hex(to, "verity", d->verity, sizeof(d->verity));
	bad |= add_hex(to, "sha256", d->sha256, sizeof(d->sha256));
	if (m->mode != MEASURE_SHA256)
		bad |= add_hex(to, "sha384", d->sha384, sizeof(d->sha384));
	return bad;
}

static json_t *encode_content(const struct event_content *c, const struct pcr_values *before,
			      const char *boot_id)
{
	char text[MEASURE_TEXT_MAX];
	_cleanup_json_ json_t *content = NULL;
	struct timespec now;
	int bad = 0;

	if ((c->model && measure_text(c->model->mode, &c->model->digests, text) < 0) ||
	    clock_gettime(CLOCK_BOOTTIME, &now) < 0)
		return NULL;
	content = json_pack("{s:s, s:s, s:s, s:I}", "eventType", c->model ? TYPE_MODEL : TYPE_START,
			    "string", c->model ? text : c->start, "bootId", boot_id, "timestamp",
			    (json_int_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
	if (content && c->model)
		bad |= add_model(content, c->model);
	if (before)
		bad |= json_object_set_new(content, "before", encode_banks(before));
	return bad ? NULL : steal_ptr(content);
}

int event_record_encode(const struct event_content *content, const struct pcr_values *digests,
			const struct pcr_values *before, const char *boot_id, uint8_t **ret,
			size_t *ret_size, struct error *err)
{
	_cleanup_json_ json_t *record = NULL;
	_cleanup_free_ char *text = NULL;
	uint8_t *framed;
	size_t size;

	record = json_pack("{s:I, s:o, s:s, s:o}", "pcr", (json_int_t)digests->pcr, "digests",
			   encode_banks(digests), "content_type", CONTENT_TYPE, "content",
			   encode_content(content, before, boot_id));
	text = record ? json_dumps(record, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
	if (!text)
		return error_set(err, -ENOMEM, "cannot make a record for the measurement log");
	size = strlen(text);
	framed = malloc(size + 2);
	if (!framed)
		return error_set(err, -ENOMEM, "out of memory");
	framed[0] = EVENT_RECORD_BEGIN;
	memcpy(framed + 1, text, size);
	framed[size + 1] = '\n';
	*ret = framed;
	*ret_size = size + 2;
	return 0;
}

/* Lower case, as systemd and this program write it: one value has one form. */
static bool is_hex(const char *text, size_t size)
{
	return strlen(text) == 2 * size && strspn(text, "0123456789abcdef") == 2 * size;
}

static bool is_listed_before(const json_t *array, size_t index, const char *alg)
{
	for (size_t n = 0; n < index; n++)
		if (strcmp(alg, json_string_value(
					json_object_get(json_array_get(array, n), "hashAlg"))) == 0)
			return true;
	return false;
}

/* Banks ascending and each once; algorithms that this version cannot compute are skipped. */
static int decode_banks(const json_t *array, struct pcr_values *ret)
{
	struct pcr_values v = {.pcr = ret->pcr};
	size_t listed = json_array_size(array);

	if (!json_is_array(array) || listed == 0 || listed > BANKS_LISTED_MAX)
		return -EPROTO;
	for (size_t n = 0; n < listed; n++) {
		json_t *entry = json_array_get(array, n);
		const char *alg = json_string_value(json_object_get(entry, "hashAlg"));

		if (!alg || !json_is_string(json_object_get(entry, "digest")) ||
		    is_listed_before(array, n, alg))
			return -EPROTO;
	}
	for (size_t a = 0; a < ARRAY_LEN(known_algs); a++) {
		struct pcr_bank_value *bank = &v.banks[v.bank_count];
		size_t size = digest_size(known_algs[a]);

		for (size_t n = 0; n < listed; n++) {
			json_t *entry = json_array_get(array, n);
			const char *hex = json_string_value(json_object_get(entry, "digest"));

			if (strcmp(json_string_value(json_object_get(entry, "hashAlg")),
				   digest_name(known_algs[a])) != 0)
				continue;
			if (!is_hex(hex, size) || hex_decode(hex, bank->value, size) < 0)
				return -EPROTO;
			bank->alg = known_algs[a];
			v.bank_count++;
			break;
		}
	}
	*ret = v;
	return 0;
}

static int decode_content(const json_t *content, struct event_record *record)
{
	const char *type = json_string_value(json_object_get(content, "eventType"));
	const char *mode = json_string_value(json_object_get(content, "mode"));
	const char *boot_id = json_string_value(json_object_get(content, "bootId"));
	const json_t *before = json_object_get(content, "before");

	if (!type || !boot_id)
		return -EPROTO;
	if (strcmp(type, TYPE_START) == 0)
		record->kind = EVENT_START;
	else if (strcmp(type, TYPE_MODEL) == 0 && mode &&
		 measure_mode_parse(mode, &record->mode) == 0 && record->mode != MEASURE_NONE)
		record->kind = EVENT_MODEL;
	else
		return -EPROTO;
	if (!is_hex(boot_id, (EVENT_BOOT_ID_SIZE - 1) / 2))
		return -EPROTO;
	memcpy(record->boot_id, boot_id, EVENT_BOOT_ID_SIZE);
	record->has_before = before != NULL;
	record->before.pcr = record->digests.pcr;
	return before ? decode_banks(before, &record->before) : 0;
}

static int decode_object(const json_t *object, struct event_record *ret)
{
	const char *type = json_string_value(json_object_get(object, "content_type"));
	const json_t *pcr = json_object_get(object, "pcr");
	struct event_record record = {0};
	int r;

	if (!json_is_object(object) || !type)
		return -EPROTO;
	if (!pcr)
		return 0;
	if (!json_is_integer(pcr) || json_integer_value(pcr) < 0 ||
	    json_integer_value(pcr) >= PCR_COUNT)
		return -EPROTO;
	record.digests.pcr = (unsigned)json_integer_value(pcr);
	r = decode_banks(json_object_get(object, "digests"), &record.digests);
	if (r < 0)
		return r;
	if (strcmp(type, CONTENT_TYPE) == 0) {
		r = decode_content(json_object_get(object, "content"), &record);
		if (r < 0)
			return r;
	}
	*ret = record;
	return 1;
}

int event_record_decode(const uint8_t *bytes, size_t size, struct event_record *ret,
			size_t *ret_size)
{
	_cleanup_json_ json_t *record = NULL;
	const uint8_t *end;
	size_t length;
	int r;

	if (size == 0)
		return -ENODATA;
	if (bytes[0] != EVENT_RECORD_BEGIN)
		return -EPROTO;
	end = memchr(bytes, '\n', MIN(size, (size_t)EVENT_RECORD_MAX));
	if (!end)
		return size < EVENT_RECORD_MAX ? -ENODATA : -EPROTO;
	length = (size_t)(end - bytes) + 1;
	record = json_loadb((const char *)bytes + 1, length - 2, JSON_REJECT_DUPLICATES, NULL);
	if (!record)
		return -EPROTO;
	r = decode_object(record, ret);
	if (r >= 0)
		*ret_size = length;
	return r;
}

static bool take_hex(const json_t *content, const char *name, uint8_t *out, size_t size)
{
	const char *hex = json_string_value(json_object_get(content, name));

	return hex && is_hex(hex, size) && hex_decode(hex, out, size) == 0;
}

static int claim_digests(const json_t *content, struct model_digests *d)
{
	const char *name = json_string_value(json_object_get(content, "mode"));
	enum measure_mode mode;
	bool ok = false;

	if (!name || measure_mode_parse(name, &mode) < 0)
		return -EPROTO;
	switch (mode) {
	case MEASURE_VERITY:
		ok = take_hex(content, "verity", d->verity, sizeof(d->verity));
		break;
	case MEASURE_DECLARED:
		ok = take_hex(content, "sha256", d->sha256, sizeof(d->sha256)) &&
		     take_hex(content, "sha384", d->sha384, sizeof(d->sha384));
		break;
	case MEASURE_SET:
		ok = take_hex(content, "set", d->set, sizeof(d->set));
		break;
	case MEASURE_SHA384:
		ok = take_hex(content, "sha384", d->sha384, sizeof(d->sha384));
		break;
	case MEASURE_SHA256:
		ok = take_hex(content, "sha256", d->sha256, sizeof(d->sha256));
		break;
	default:
		break;
	}
	return ok ? 0 : -EPROTO;
}

int event_record_claim(const uint8_t *bytes, size_t size, struct event_claim *ret)
{
	_cleanup_json_ json_t *record =
		json_loadb((const char *)bytes + 1, size - 2, JSON_REJECT_DUPLICATES, NULL);
	const json_t *content = json_object_get(record, "content");
	const char *type = json_string_value(json_object_get(content, "eventType"));
	const char *text = json_string_value(json_object_get(content, "string"));

	*ret = (struct event_claim){.start = NULL};
	if (!type)
		return -EPROTO;
	if (strcmp(type, TYPE_MODEL) == 0)
		return claim_digests(content, &ret->digests);
	if (!text)
		return -EPROTO;
	ret->start = strdup(text);
	return ret->start ? 0 : -ENOMEM;
}

int event_record_systemd_text(const uint8_t *bytes, size_t size, char **ret)
{
	_cleanup_json_ json_t *record =
		json_loadb((const char *)bytes + 1, size - 2, JSON_REJECT_DUPLICATES, NULL);
	const char *type = json_string_value(json_object_get(record, "content_type"));
	const char *text =
		json_string_value(json_object_get(json_object_get(record, "content"), "string"));

	if (!type || strcmp(type, SYSTEMD_TYPE) != 0 || !text)
		return -EPROTO;
	*ret = strdup(text);
	return *ret ? 0 : -ENOMEM;
}

static const struct pcr_bank_value *find_bank(const struct pcr_values *v, enum digest_alg alg)
{
	for (size_t n = 0; n < v->bank_count; n++)
		if (v->banks[n].alg == alg)
			return &v->banks[n];
	return NULL;
}

void event_record_start(const struct event_record *record, struct pcr_values *value)
{
	for (size_t n = 0; n < value->bank_count; n++) {
		const struct pcr_bank_value *bank = find_bank(&record->before, value->banks[n].alg);

		if (bank)
			value->banks[n] = *bank;
		else
			memset(value->banks[n].value, 0, sizeof(value->banks[n].value));
	}
}

static int apply(const struct event_record *record, struct pcr_values *value, bool every_bank)
{
	for (size_t n = 0; n < value->bank_count; n++) {
		struct pcr_bank_value *bank = &value->banks[n];
		const struct pcr_bank_value *digest = find_bank(&record->digests, bank->alg);
		int r;

		if (!digest && every_bank)
			return -EPROTO;
		if (!digest)
			continue;
		r = pcr_extend_value(bank->alg, bank->value, digest->value);
		if (r < 0)
			return r;
	}
	return 0;
}

int event_record_apply(const struct event_record *record, struct pcr_values *value)
{
	return apply(record, value, true);
}

int event_record_apply_named(const struct event_record *record, struct pcr_values *value)
{
	return apply(record, value, false);
}
