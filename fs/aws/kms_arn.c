/*
 * ARNs of KMS keys. Job: take one apart, strictly, and compare it with a pin. The text comes from a
 * seal that anybody can have written: every character is checked. Must never accept an ARN that
 * could name a key, region or account other than it shows.
 */
#include "fs/aws/kms_arn.h"

#include <errno.h>
#include <string.h>

#define PIN_ACCOUNT "account/"
#define HEX_DIGITS "0123456789abcdef"

/* Copies what is before the next ':' and returns what follows it; NULL: no ':', or too long. */
static const char *take_part(const char *text, char *out, size_t size)
{
	size_t length = strcspn(text, ":");

	if (text[length] != ':' || length >= size)
		return NULL;
	memcpy(out, text, length);
	out[length] = '\0';
	return text + length + 1;
}

static bool is_account(const char *text)
{
	return strlen(text) == KMS_ACCOUNT_DIGITS &&
	       strspn(text, "0123456789") == KMS_ACCOUNT_DIGITS;
}

/* 8-4-4-4-12 hex digits in lower case, as KMS writes them. */
static bool is_uuid(const char *id)
{
	if (strlen(id) != 36)
		return false;
	for (size_t i = 0; i < 36; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? id[i] != '-' : !strchr(HEX_DIGITS, id[i]))
			return false;
	}
	return true;
}

static bool is_key_id(const char *id)
{
	if (strncmp(id, "mrk-", 4) == 0)
		return strlen(id + 4) == 32 && strspn(id + 4, HEX_DIGITS) == 32;
	return is_uuid(id);
}

int kms_arn_parse(const char *text, struct kms_arn *ret)
{
	char arn[4] = "", service[4] = "";
	const char *p = take_part(text, arn, sizeof(arn));

	*ret = (struct kms_arn){0};
	if (p)
		p = take_part(p, ret->partition, sizeof(ret->partition));
	if (p)
		p = take_part(p, service, sizeof(service));
	if (p)
		p = take_part(p, ret->region, sizeof(ret->region));
	if (p)
		p = take_part(p, ret->account, sizeof(ret->account));
	if (!p || strcmp(arn, "arn") != 0 || strcmp(service, "kms") != 0 ||
	    !endpoint_region_valid(ret->region) || !is_account(ret->account) ||
	    strcmp(ret->partition, endpoint_partition(ret->region)) != 0)
		return -EINVAL;
	if (strncmp(p, "key/", 4) != 0 || !is_key_id(p + 4))
		return -EINVAL;
	ret->multi_region = p[4] == 'm';
	return 0;
}

int kms_arn_in_region(const char *text, const char *region, char *out, size_t size)
{
	struct kms_arn arn;
	int n;

	if (kms_arn_parse(text, &arn) < 0)
		return -EINVAL;
	n = snprintf(out, size, "arn:%s:kms:%s:%s:%s", arn.partition, region, arn.account,
		     strstr(text, ":key/") + 1);
	return n > 0 && (size_t)n < size ? 0 : -EINVAL;
}

/* The parts of "account/ACCOUNT[/REGION]"; region is "" without one. */
static int parse_account_pin(const char *pin, struct kms_arn *ret)
{
	const char *account, *region;
	size_t size;

	*ret = (struct kms_arn){0};
	if (strncmp(pin, PIN_ACCOUNT, strlen(PIN_ACCOUNT)) != 0)
		return -EINVAL;
	account = pin + strlen(PIN_ACCOUNT);
	size = strcspn(account, "/");
	if (size != KMS_ACCOUNT_DIGITS)
		return -EINVAL;
	memcpy(ret->account, account, size);
	if (!is_account(ret->account))
		return -EINVAL;
	if (!account[size])
		return 0;
	region = account + size + 1;
	if (!endpoint_region_valid(region))
		return -EINVAL;
	memcpy(ret->region, region, strlen(region) + 1);
	return 0;
}

int kms_pin_check(const char *pin, struct error *err)
{
	struct kms_arn parts;

	if (kms_arn_parse(pin, &parts) == 0 || parse_account_pin(pin, &parts) == 0)
		return 0;
	if (strstr(pin, "alias/")) {
		error_hint(err, "aws kms describe-key --key-id ALIAS prints the key's ARN");
		return error_set(err, -EINVAL,
				 "%.200s: an alias can be pointed at another key, so it cannot be "
				 "pinned",
				 pin);
	}
	return error_set(err, -EINVAL,
			 "%.200s: must be the ARN of a KMS key "
			 "(arn:aws:kms:REGION:ACCOUNT:key/ID) or account/ACCOUNT[/REGION]",
			 pin);
}

bool kms_pin_matches(const char *pin, const char *text, const struct kms_arn *arn)
{
	struct kms_arn parts;

	if (parse_account_pin(pin, &parts) < 0)
		return strcmp(pin, text) == 0;
	return strcmp(parts.account, arn->account) == 0 &&
	       (!parts.region[0] || strcmp(parts.region, arn->region) == 0);
}
