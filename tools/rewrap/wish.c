/*
 * Which slots stay, go and come. Job: decide it from a head alone, so that what is done already
 * costs no key. Trusts no slot. Must never leave a head without a recipient.
 */
#include "tools/rewrap/wish.h"

#include "crypto/base/encode.h"
#include "fs/aws/kms_arn.h"

#include <errno.h>
#include <string.h>

#define ID_DIGITS_MIN 8

bool slot_same_recipient(const struct seal_slot *a, const struct seal_slot *b)
{
	struct kms_slot x, y;

	if (a->type != b->type)
		return false;
	switch (a->type) {
	case SEAL_SLOT_KMS:
		return slot_parse_kms(a, &x, NULL) == 0 && slot_parse_kms(b, &y, NULL) == 0 &&
		       strcmp(x.arn, y.arn) == 0;
	case SEAL_SLOT_KEYFILE:
		return slot_keyfile_id(a) && slot_keyfile_id(b) &&
		       memcmp(slot_keyfile_id(a), slot_keyfile_id(b), SLOT_KEYFILE_ID_SIZE) == 0;
	case SEAL_SLOT_SET:
		return slot_set_id(a) && slot_set_id(b) &&
		       memcmp(slot_set_id(a), slot_set_id(b), SLOT_SET_ID_SIZE) == 0;
	case SEAL_SLOT_TPM2:
		return slot_same_tpm(a, b);
	default:
		return a->body_size == b->body_size && memcmp(a->body, b->body, a->body_size) == 0;
	}
}

bool slot_is_called(const struct seal_slot *slot, const char *text)
{
	const uint8_t *keyfile = slot_keyfile_id(slot);
	char hex[2 * SHA256_SIZE + 1];
	struct kms_slot kms;
	struct tpm_slot tpm;

	if (slot_parse_kms(slot, &kms, NULL) == 0)
		return strcmp(kms.arn, text) == 0;
	if (strlen(text) < ID_DIGITS_MIN)
		return false;
	if (keyfile)
		hex_encode(keyfile, SLOT_KEYFILE_ID_SIZE, hex);
	else if (slot_parse_tpm(slot, &tpm, NULL) == 0)
		hex_encode(tpm.parent, SHA256_SIZE, hex);
	else
		return false;
	return strncmp(hex, text, strlen(text)) == 0;
}

int wish_drop(struct wish *w, const char *text, struct error *err)
{
	size_t n = strlen(text);
	struct kms_arn arn;

	if (w->dropped_count == SEAL_SLOTS_MAX)
		return error_set(err, -EINVAL, "--drop was given more than %d times",
				 SEAL_SLOTS_MAX);
	/* Whatever a slot's ARN looks like, it begins so. */
	if (kms_arn_parse(text, &arn) < 0 && strncmp(text, "arn:", 4) != 0 &&
	    (n < ID_DIGITS_MIN || strspn(text, "0123456789abcdef") != n)) {
		error_hint(err, "sealctl recipients lists them");
		return error_set(
			err, -EINVAL,
			"--drop %s: neither the ARN of a KMS key nor the id of a key file or TPM, "
			"or its first %d digits at least",
			text, ID_DIGITS_MIN);
	}
	w->dropped[w->dropped_count++] = text;
	return 0;
}

/* Of what wraps without a network: a slot of no key. */
static int learn(struct addition *a, struct error *err)
{
	static const uint8_t id[SEAL_FILE_ID_SIZE];
	struct seal_slot slots[SEAL_SLOTS_MAX];
	_cleanup_secret_ struct secret *key = NULL;
	unsigned count = 0;
	int r = recipients_make(a->one, id, &key, slots, &count, err);

	if (r == 0) {
		a->known = slots[0];
		a->is_known = true;
	}
	return r;
}

/* options: one recipient. */
static int add(struct wish *w, const char *text, const struct recipient_options *options,
	       struct aws *aws, struct error *err)
{
	struct addition *a = &w->added[w->added_count];
	int r = w->added_count < SEAL_SLOTS_MAX
			? recipients_new(options, aws, &a->one, err)
			: error_set(err, -EINVAL, "more than %d recipients", SEAL_SLOTS_MAX);

	if (r < 0)
		return r;
	a->text = text;
	w->added_count++;
	return options->kms_count == 0 ? learn(a, err) : 0;
}

int wish_make(struct wish *w, const struct recipient_options *options, struct aws *aws,
	      struct error *err)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < options->kms_count; i++) {
		struct recipient_options one = {.kms_keys = {options->kms_keys[i]}, .kms_count = 1};

		r = add(w, options->kms_keys[i], &one, aws, err);
	}
	for (unsigned i = 0; r == 0 && i < options->keyfile_count; i++) {
		struct recipient_options one = {.keyfiles = {options->keyfiles[i]},
						.keyfile_count = 1};

		r = add(w, options->keyfiles[i], &one, aws, err);
	}
	for (unsigned i = 0; r == 0 && i < options->tpm_count; i++) {
		struct recipient_options one = {.tpms = {options->tpms[i]}, .tpm_count = 1};

		r = add(w, options->tpms[i], &one, aws, err);
	}
	if (r == 0 && w->added_count + w->dropped_count == 0)
		return error_set(err, -EINVAL,
				 "give --add-key-file, --add-kms-key, --add-tpm or --drop");
	return r;
}

void wish_clear(struct wish *w)
{
	for (unsigned i = 0; i < w->added_count; i++)
		recipients_free(w->added[i].one);
	*w = (struct wish){0};
}

/* A key that is named by its ARN, or a slot of its that was seen. */
static bool is_there(const struct addition *a, const struct seal_slot *slots, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (a->is_known ? slot_same_recipient(&a->known, &slots[i])
				: strncmp(a->text, "arn:", 4) == 0 &&
					  slot_is_called(&slots[i], a->text))
			return true;
	return false;
}

void plan_slots(struct wish *w, const struct sealed_head *head, bool add, struct plan_slots *ret)
{
	*ret = (struct plan_slots){0};
	for (unsigned i = 0; i < head->slot_count; i++) {
		bool gone = false;

		for (unsigned d = 0; d < w->dropped_count; d++)
			if (slot_is_called(&head->slots[i], w->dropped[d]))
				gone = w->drop_found[d] = true;
		if (gone)
			ret->gone[ret->gone_count++] = head->slots[i];
		else
			ret->slots[ret->count++] = head->slots[i];
	}
	ret->new_at = ret->count;
	for (unsigned i = 0; add && i < w->added_count; i++)
		if (!is_there(&w->added[i], ret->slots, ret->count))
			ret->coming[ret->coming_count++] = &w->added[i];
}

bool plan_is_done(const struct plan_slots *p)
{
	return p->gone_count + p->coming_count == 0;
}

static int wrap_one(struct plan_slots *p, struct addition *a, const uint8_t *id,
		    const struct secret *key, struct error *err)
{
	struct seal_slot slots[SEAL_SLOTS_MAX];
	unsigned count = 0;
	int r = recipients_wrap(a->one, id, key, slots, &count, err);

	if (r < 0)
		return r;
	if (a->is_known && !slot_same_recipient(&a->known, &slots[0]))
		return error_set(err, -EINVAL,
				 "%s names another key now than at the beginning: run it again",
				 a->text);
	a->known = slots[0];
	a->is_known = true;
	for (unsigned i = 0; i < p->count; i++)
		if (slot_same_recipient(&p->slots[i], &slots[0]))
			return 0;
	if (p->count == SEAL_SLOTS_MAX)
		return error_set(err, -EINVAL,
				 "there is no room for %s: a seal or set has at most %d recipients",
				 a->text, SEAL_SLOTS_MAX);
	p->slots[p->count++] = slots[0];
	return 0;
}

int plan_wrap(struct plan_slots *p, const uint8_t id[SEAL_FILE_ID_SIZE], const struct secret *key,
	      struct error *err)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < p->coming_count; i++)
		r = wrap_one(p, p->coming[i], id, key, err);
	/* All of them may have been there, under other names. */
	if (r == 0)
		p->coming_count = p->count - p->new_at;
	if (r == 0 && p->count == 0)
		return error_set(err, -EINVAL,
				 "the last recipient cannot be dropped: nobody could open it any "
				 "more");
	return r;
}
