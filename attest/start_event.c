/*
 * The start event's text. Job: write a configuration in exactly one way. Trusts nothing in the
 * items: separators in them are escaped. Must never give two configurations the same text, and
 * never depend on anything but its arguments: owners predict PCR values with it.
 */
#include "attest/start_event.h"

#include "crypto/base/encode.h"

#include <errno.h>
#include <string.h>

/* Written as they are; every other byte becomes '%' and two digits. */
#define PLAIN "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:/._-"
#define BETWEEN_ITEMS '+'

struct text {
	char bytes[START_TEXT_MAX + 1];
	size_t size;
	bool full;
};

static void add_char(struct text *t, char c)
{
	if (t->size == START_TEXT_MAX)
		t->full = true;
	else
		t->bytes[t->size++] = c;
}

static void add(struct text *t, const char *s)
{
	for (; *s; s++)
		add_char(t, *s);
}

static void add_escaped(struct text *t, const char *s)
{
	for (; *s; s++) {
		char hex[3];

		if (strchr(PLAIN, *s)) {
			add_char(t, *s);
			continue;
		}
		hex_encode((const uint8_t *)s, 1, hex);
		add_char(t, '%');
		add(t, hex);
	}
}

static int compare_texts(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int add_list(struct text *t, const char *const *items, size_t count)
{
	_cleanup_free_ const char **sorted = calloc(count + 1, sizeof(*sorted));

	if (!sorted)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		sorted[i] = items[i];
	if (count > 1)
		qsort(sorted, count, sizeof(*sorted), compare_texts);
	for (size_t i = 0; i < count; i++) {
		if (!sorted[i][0])
			return -EINVAL;
		if (i > 0 && strcmp(sorted[i - 1], sorted[i]) == 0)
			continue;
		if (i > 0)
			add_char(t, BETWEEN_ITEMS);
		add_escaped(t, sorted[i]);
	}
	return 0;
}

static int add_owners(struct text *t, const struct owner_keys *owners)
{
	size_t count = owner_keys_count(owners);
	_cleanup_free_ char(*hex)[2 * SIGNER_ID_SIZE + 1] = calloc(count + 1, sizeof(*hex));
	_cleanup_free_ const char **items = calloc(count + 1, sizeof(*items));

	if (!hex || !items)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		hex_encode(owner_keys_id(owners, i), SIGNER_ID_SIZE, hex[i]);
		items[i] = hex[i];
	}
	return add_list(t, items, count);
}

bool start_event_needed(enum measure_mode measure)
{
	return measure == MEASURE_VERITY || measure == MEASURE_DECLARED || measure == MEASURE_SET;
}

int start_event_text(const struct start_facts *f, char **ret, struct error *err)
{
	_cleanup_free_ struct text *t = calloc(1, sizeof(*t));
	int r = 0;

	if (!t)
		return error_set(err, -ENOMEM, "out of memory");
	if (!start_event_needed(f->measure))
		return error_set(err, -EINVAL, "measuring mode %s has no start event",
				 measure_mode_name(f->measure));
	add(t, "sealedfs:start:measure=");
	add(t, measure_mode_name(f->measure));
	add(t, f->measure == MEASURE_SET ? ",set=on,attest=" : ",set=off,attest=");
	add_escaped(t, f->attest);
	add(t, ",owners=");
	r = add_owners(t, f->owners);
	add(t, ",kms=");
	if (r == 0)
		r = add_list(t, (const char *const *)f->kms_keys, f->kms_key_count);
	if (r == 0 && t->full)
		r = error_set(
			err, -EINVAL,
			"the start event of this configuration would be longer than %d bytes: "
			"too many owner keys and KMS keys",
			START_TEXT_MAX);
	if (r < 0)
		return error_set(err, r, "cannot make the start event: %s", strerror(-r));
	*ret = strdup(t->bytes);
	return *ret ? 0 : error_set(err, -ENOMEM, "out of memory");
}

/* Takes a constant text. */
static bool take(const char **at, const char *text)
{
	size_t n = strlen(text);

	if (strncmp(*at, text, n) != 0)
		return false;
	*at += n;
	return true;
}

/* Takes one item as add_escaped() writes it. */
static bool take_item(const char **at)
{
	const char *from = *at;
	uint8_t byte;

	for (; **at; (*at)++) {
		char digits[3] = {0};

		if (strchr(PLAIN, **at))
			continue;
		if (**at != '%')
			break;
		memcpy(digits, *at + 1, strnlen(*at + 1, 2));
		if (hex_decode(digits, &byte, 1) < 0 || strpbrk(digits, "ABCDEF"))
			return false;
		*at += 2;
	}
	return *at > from;
}

static bool take_owner(const char **at)
{
	const char *from = *at;

	*at += strspn(from, "0123456789abcdef");
	return (size_t)(*at - from) == (size_t)2 * SIGNER_ID_SIZE;
}

/* A list up to its end, which may be empty. */
static bool take_list(const char **at, char end, bool (*take_one)(const char **at), size_t *ret)
{
	*ret = 0;
	if (**at == end)
		return true;
	do {
		if (!take_one(at))
			return false;
		(*ret)++;
	} while (**at == BETWEEN_ITEMS && (*at)++);
	return **at == end;
}

int start_event_read(const char *text, struct start_claim *ret)
{
	struct start_claim c = {.measure = MEASURE_VERITY};
	const char *at = text;
	size_t count;

	if (strnlen(text, START_TEXT_MAX + 1) > START_TEXT_MAX ||
	    !take(&at, "sealedfs:start:measure="))
		return -EPROTO;
	while (!take(&at, measure_mode_name(c.measure))) {
		if (c.measure == MEASURE_SET)
			return -EPROTO;
		c.measure = c.measure == MEASURE_VERITY ? MEASURE_DECLARED : MEASURE_SET;
	}
	if (!take(&at, c.measure == MEASURE_SET ? ",set=on,attest=" : ",set=off,attest=") ||
	    !take_item(&at) || !take(&at, ",owners="))
		return -EPROTO;
	c.owners = at;
	if (!take_list(&at, ',', take_owner, &c.owner_count) || !take(&at, ",kms=") ||
	    !take_list(&at, '\0', take_item, &count))
		return -EPROTO;
	*ret = c;
	return 0;
}

void start_claim_owner(const struct start_claim *c, size_t index, uint8_t id[SIGNER_ID_SIZE])
{
	char digits[2 * SIGNER_ID_SIZE + 1] = {0};

	memcpy(digits, c->owners + index * sizeof(digits), sizeof(digits) - 1);
	(void)hex_decode(digits, id, SIGNER_ID_SIZE);
}
