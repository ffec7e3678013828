/*
 * Evidence as JSON. Job: bytes out of base64, with every size bounded before it is decoded. Trusts
 * nothing. Must never skip a seal or a log that is malformed: a verdict without it would be about
 * something else.
 */
#include "attest/verdict/presented.h"

#include "crypto/base/encode.h"
#include "crypto/base/json.h"

#include <errno.h>
#include <string.h>

#define VERSION 1

static int malformed(struct error *err, const char *what)
{
	return error_set(err, -EPROTO, "the evidence is malformed: %s", what);
}

/* *ret: owned by the caller. */
static int take_base64(const json_t *value, size_t max, const char *what, uint8_t **ret,
		       size_t *ret_size, struct error *err)
{
	int r = -EPROTO;

	if (json_is_string(value) && json_string_length(value) <= (max + 2) / 3 * 4)
		r = base64_decode(json_string_value(value), max, ret, ret_size);
	if (r == -ENOMEM)
		return error_set(err, r, "out of memory");
	return r < 0 ? malformed(err, what) : 0;
}

static int take_log(const json_t *evidence, const char *name, uint8_t **owned,
		    struct bytes_view *ret, struct error *err)
{
	static const uint8_t nothing[1];
	const json_t *value = json_object_get(evidence, name);
	size_t size = 0;
	int r;

	*ret = (struct bytes_view){nothing, 0};
	if (!value || json_is_null(value))
		return 0;
	r = take_base64(value, VERDICT_LOG_MAX, name, owned, &size, err);
	if (r == 0)
		*ret = (struct bytes_view){*owned, size};
	return r;
}

static int take_seal(struct presented *p, const json_t *value, struct error *err)
{
	_cleanup_free_ uint8_t *head = NULL;
	size_t size = 0;
	int r = take_base64(json_object_get(value, "head"), VERDICT_SEAL_HEAD_MAX, "a seal's head",
			    &head, &size, err);

	if (r == 0)
		r = seal_parse_statement("a seal of the evidence", head, size,
					 &p->seals[p->seal_count], err);
	if (r == 0)
		p->seal_count++;
	return r;
}

static int take_seals(const json_t *evidence, struct presented *p, struct error *err)
{
	const json_t *seals = json_object_get(evidence, "seals");
	size_t count = json_array_size(seals);
	int r = 0;

	if (!seals || json_is_null(seals))
		return 0;
	if (!json_is_array(seals) || count > VERDICT_SEALS_MAX)
		return malformed(err, "seals is not a list of at most 1024");
	p->seals = calloc(count + 1, sizeof(struct seal *));
	if (!p->seals)
		return error_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; r == 0 && i < count; i++)
		r = take_seal(p, json_array_get(seals, i), err);
	return r;
}

static int take_set(struct presented *p, const json_t *value, struct error *err)
{
	_cleanup_free_ uint8_t *head = NULL;
	size_t size = 0;
	int r = take_base64(json_object_get(value, "head"), SEAL_STATEMENT_SIZE, "a set's head",
			    &head, &size, err);

	if (r == 0)
		r = set_parse_statement("a set of the evidence", head, size, &p->sets[p->set_count],
					err);
	if (r == 0)
		p->set_count++;
	return r;
}

static int take_sets(const json_t *evidence, struct presented *p, struct error *err)
{
	const json_t *sets = json_object_get(evidence, "sets");
	size_t count = json_array_size(sets);
	int r = 0;

	if (!sets || json_is_null(sets))
		return 0;
	if (!json_is_array(sets) || count > VERDICT_SETS_MAX)
		return malformed(err, "sets is not a list of at most 64");
	p->sets = calloc(count + 1, sizeof(struct set *));
	if (!p->sets)
		return error_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; r == 0 && i < count; i++)
		r = take_set(p, json_array_get(sets, i), err);
	return r;
}

int presented_take(const json_t *evidence, struct presented *ret, struct error *err)
{
	struct presented p = {0};
	const json_t *pcr = json_object_get(evidence, "pcr");
	size_t size = 0;
	int r;

	if (json_integer_value(json_object_get(evidence, "sealedfs_evidence")) != VERSION)
		return malformed(err, "sealedfs_evidence is not 1");
	if (pcr && (!json_is_integer(pcr) || json_integer_value(pcr) < 0 ||
		    json_integer_value(pcr) >= PCR_COUNT ||
		    !pcr_is_allowed((unsigned)json_integer_value(pcr))))
		return malformed(err, "pcr is not 0 to 15");
	r = take_base64(json_object_get(evidence, "document"), DOCUMENT_SIZE_MAX, "document",
			&p.owned[0], &size, err);
	p.document = (struct bytes_view){p.owned[0], size};
	if (r == 0)
		r = take_log(evidence, "event_log", &p.owned[1], &p.event_log, err);
	if (r == 0)
		r = take_log(evidence, "systemd_log", &p.owned[2], &p.systemd_log, err);
	if (r == 0)
		r = take_seals(evidence, &p, err);
	if (r == 0)
		r = take_sets(evidence, &p, err);
	if (r == 0)
		*ret = p;
	else
		presented_clear(&p);
	return r;
}

int presented_parse(const void *json, size_t size, struct presented *ret, struct error *err)
{
	_cleanup_json_ json_t *evidence = NULL;

	if (size > PRESENTED_SIZE_MAX)
		return error_set(err, -EPROTO, "the evidence has more than 8 MiB");
	evidence = json_object_parse(json, size);
	return evidence ? presented_take(evidence, ret, err) : malformed(err, "not a JSON object");
}

int presented_document(const void *bytes, size_t size, struct presented *ret, struct error *err)
{
	uint8_t *copy = malloc(size + 1);

	if (!copy)
		return error_set(err, -ENOMEM, "out of memory");
	memcpy(copy, bytes, size);
	*ret = (struct presented){.document = {copy, size}, .owned[0] = copy};
	return 0;
}

void presented_clear(struct presented *p)
{
	for (size_t i = 0; i < p->seal_count; i++)
		seal_free(p->seals[i]);
	for (size_t i = 0; i < p->set_count; i++)
		set_free(p->sets[i]);
	free(p->seals);
	free(p->sets);
	for (size_t i = 0; i < ARRAY_LEN(p->owned); i++)
		free(p->owned[i]);
	*p = (struct presented){0};
}
