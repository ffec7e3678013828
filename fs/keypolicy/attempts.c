/*
 * Requests against a policy. Job: list the possible principals and the contents of their documents.
 * Trusts the shape that keypolicy_parse() checked. Must never leave out a principal that the
 * statement may mean.
 */
#include "fs/keypolicy/attempts.h"

#include "fs/keypolicy/condition.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define NITROTPM KEYPOLICY_ATTESTATION "NitroTPMPCR"
#define ENCLAVE KEYPOLICY_ATTESTATION "PCR"
#define IMAGE KEYPOLICY_ATTESTATION "ImageSha384"
#define ACCOUNT_DIGITS 12
#define HEX8(digits) digits digits digits digits digits digits digits digits
#define OTHER HEX8("5e5e5e5e5e5e")
#define ZERO HEX8("000000000000")
/* PCR 7 without Secure Boot, when no key was enrolled. */
#define NO_SECURE_BOOT                                     \
	"98441c7f7625d10058c47683aec486ce311c633235eb5555" \
	"93a7ee791121e3578ae72d04ecef661f272d59058b77af35"

bool attempt_is_service(const char *principal)
{
	return strncmp(principal, "arn:", 4) != 0 && strchr(principal, '.');
}

/* Where the account begins in an ARN; NULL: no ARN. */
static const char *arn_account(const char *arn)
{
	if (strncmp(arn, "arn:", 4) != 0)
		return NULL;
	for (int colons = 0; arn && colons < 4; colons++) {
		arn = strchr(arn, ':');
		arn = arn ? arn + 1 : NULL;
	}
	return arn;
}

bool attempt_is_stranger(const char *principal)
{
	const char *account = arn_account(principal);

	return strcmp(principal, ATTEMPT_STRANGER) == 0 || attempt_is_service(principal) ||
	       (account && strspn(account, "0123456789") != ACCOUNT_DIGITS);
}

static int add(json_t *list, const char *text)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		if (strcmp(json_string_value(json_array_get(list, i)), text) == 0)
			return 0;
	return json_array_append_new(list, json_string(text)) < 0 ? -ENOMEM : 0;
}

/* Somebody of the account whose twelve digits stand in text by themselves. */
static int add_account(json_t *list, const char *text)
{
	char member[64];

	for (size_t n; *text; text += n ? n : 1) {
		n = strspn(text, "0123456789");
		if (n != ACCOUNT_DIGITS)
			continue;
		(void)snprintf(member, sizeof(member), "arn:aws:iam::%.12s:role/any", text);
		if (add(list, member) < 0)
			return -ENOMEM;
	}
	return 0;
}

static bool is_plain_arn(const char *text)
{
	return strncmp(text, "arn:", 4) == 0 && !pattern_has_wildcard(text);
}

/* Wildcards in an ARN become a name that fits. The unique id of a role or user ("AROA…") is a name
 * by itself; "*" and accounts are none. */
static int add_filled(json_t *list, const char *pattern)
{
	char text[256];
	size_t n = 0;

	if (strncmp(pattern, "arn:", 4) != 0 &&
	    (pattern_has_wildcard(pattern) || strspn(pattern, "0123456789") == strlen(pattern)))
		return 0;
	for (; *pattern && n + 1 < sizeof(text); pattern++)
		text[n++] = (char)(*pattern == '*' ? 'x' : *pattern == '?' ? '0' : *pattern);
	text[n] = '\0';
	return add(list, text);
}

static int add_listed(json_t *list, const json_t *statement, const char *kind)
{
	const json_t *names = keypolicy_principals(statement, kind);
	const char *name;
	int r = 0;

	for (size_t i = 0; r == 0 && (name = keypolicy_text(names, i)) != NULL; i++) {
		if (strcmp(kind, "AWS") != 0)
			r = add(list, name);
		else if (is_plain_arn(name) && !strstr(name, ":root"))
			r = add(list, name);
		else
			r = add_filled(list, name);
		if (r == 0 && (strstr(name, ":root") || strspn(name, "0123456789") == strlen(name)))
			r = add_account(list, name);
	}
	return r;
}

/* Conditions can name principals and accounts, too. */
static int add_conditioned(json_t *list, const json_t *statement)
{
	static const char *const keys[] = {"aws:PrincipalArn", "aws:PrincipalAccount",
					   "kms:CallerAccount"};
	json_t *condition = json_object_get(statement, "Condition"), *block;
	const char *operator, * text;
	int r = 0;

	json_object_foreach (condition, operator, block) {
		for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
			const json_t *values = condition_context(block, keys[k]);

			for (size_t i = 0; r == 0 && (text = keypolicy_text(values, i)); i++) {
				r = add_filled(list, text);
				if (r == 0)
					r = add_account(list, text);
			}
		}
	}
	return r;
}

json_t *attempt_principals(const json_t *statement)
{
	static const char *const kinds[] = {"AWS", "Service", "Federated", "CanonicalUser"};
	json_t *list = json_array();
	int r = list ? 0 : -ENOMEM;

	for (size_t k = 0; r == 0 && k < ARRAY_LEN(kinds); k++)
		r = add_listed(list, statement, kinds[k]);
	if (r == 0)
		r = add_conditioned(list, statement);
	if (r == 0)
		r = add(list, ATTEMPT_STRANGER);
	if (r == 0)
		r = add(list, ATTEMPT_INSIDER);
	if (r == 0)
		r = add(list, ATTEMPT_SERVICE);
	if (r == 0)
		return list;
	json_decref(list);
	return NULL;
}

static bool pins(const json_t *statement, const char *prefix)
{
	json_t *condition = json_object_get(statement, "Condition"), *block, *values;
	const char *operator, * key;

	json_object_foreach (condition, operator, block)
		json_object_foreach (block, key, values)
			if (strncasecmp(key, prefix, strlen(prefix)) == 0)
				return true;
	return false;
}

bool attempt_pins_machine(const json_t *statement)
{
	return pins(statement, NITROTPM);
}

bool attempt_pins_enclave(const json_t *statement)
{
	return pins(statement, ENCLAVE) || pins(statement, IMAGE);
}

/* The first right value that a condition of the statement has for key: an Allow names it, a Deny
 * denies all others. */
static const char *value_in(const json_t *statement, const char *key)
{
	json_t *condition = json_object_get(statement, "Condition"), *block;
	const char *operator;

	json_object_foreach (condition, operator, block) {
		const char *text = keypolicy_text(condition_context(block, key), 0);
		const struct condition_operator op = condition_operator_parse(operator);

		if (text && op.compare != COMPARE_NULL && op.negated == keypolicy_denies(statement))
			return text;
	}
	return NULL;
}

static const char *right_value(const struct keypolicy *p, const json_t *statement, const char *key)
{
	const char *text = value_in(statement, key);

	for (size_t i = 0; !text && i < keypolicy_count(p); i++)
		text = value_in(keypolicy_statement(p, i), key);
	return text;
}

/* KMS's values are lower-case. A pattern becomes a text that fits it. */
static int put_value(json_t *context, const char *key, const char *text)
{
	char value[128];
	size_t n = 0;

	for (; *text && n + 1 < sizeof(value); text++)
		if (*text != '*')
			value[n++] = (char)(*text == '?' ? '0' : tolower((unsigned char)*text));
	value[n] = '\0';
	return json_object_set_new(context, key, json_string(n ? value : OTHER)) < 0 ? -ENOMEM : 0;
}

/* Of an enclave: the whole, the application, the signer; its kernel (1) says nothing of the rest.
 */
static bool is_image_pcr(bool machine, unsigned pcr)
{
	return machine ? pcr == 4 : pcr == 0 || pcr == 2 || pcr == 8;
}

/* Secure Boot with the owner's keys stands for the image: AWS documents it so. Every value that is
 * accepted must be one. */
static bool has_secure_boot(const json_t *statement)
{
	json_t *condition = json_object_get(statement, "Condition"), *block;
	const char *operator, * text;
	size_t count = 0;

	json_object_foreach (condition, operator, block) {
		const json_t *values = condition_context(block, NITROTPM "7");

		for (size_t i = 0; (text = keypolicy_text(values, i)) != NULL; i++, count++)
			if (pattern_has_wildcard(text) || strcasecmp(text, NO_SECURE_BOOT) == 0)
				return false;
	}
	return count > 0;
}

static int put_pcrs(json_t *context, const struct keypolicy *p, const json_t *statement,
		    enum attempt_document document)
{
	bool machine = document == ATTEMPT_OTHER_MACHINE ||
		       (document >= ATTEMPT_RIGHT && document != ATTEMPT_DEBUG_ENCLAVE &&
			attempt_pins_machine(statement));
	bool right = document >= ATTEMPT_RIGHT && document != ATTEMPT_DEBUG_ENCLAVE;
	const char *image = NULL;
	int r = 0;

	for (unsigned pcr = 0; r == 0 && pcr < (machine ? 24 : 16); pcr++) {
		const char *value = NULL;
		char key[64];

		(void)snprintf(key, sizeof(key), "%s%u", machine ? NITROTPM : ENCLAVE, pcr);
		if (right && !(document == ATTEMPT_OTHER_IMAGE && is_image_pcr(machine, pcr)) &&
		    !(document == ATTEMPT_OTHER_COMMANDLINE && pcr == 12))
			value = right_value(p, statement, key);
		if (document == ATTEMPT_DEBUG_ENCLAVE)
			value = ZERO;
		r = put_value(context, key, value ? value : OTHER);
	}
	if (machine || r < 0)
		return r;
	if (document == ATTEMPT_RIGHT)
		image = right_value(p, statement, IMAGE);
	if (document == ATTEMPT_DEBUG_ENCLAVE)
		image = ZERO;
	return put_value(context, IMAGE, image ? image : OTHER);
}

/* The context keys about the principal that IAM itself adds to a request. */
static int put_principal(json_t *context, const char *principal)
{
	static const char *const ours[] = {"aws:PrincipalAccount", "aws:PrincipalOrgID",
					   "aws:PrincipalOrgPaths"};
	bool service = attempt_is_service(principal);
	const char *account = arn_account(principal);
	int r = 0;

	r |= json_object_set_new(context, "aws:PrincipalIsAWSService",
				 json_string(service ? "true" : "false"));
	r |= json_object_set_new(context, "aws:PrincipalArn",
				 service ? json_null() : json_string(principal));
	/* Services belong to no account and no organisation. */
	for (size_t i = 0; service && i < ARRAY_LEN(ours); i++)
		r |= json_object_set_new(context, ours[i], json_null());
	if (account) {
		json_t *id = json_stringn(account, strcspn(account, ":"));

		r |= json_object_set(context, "aws:PrincipalAccount", id);
		r |= json_object_set_new(context, "kms:CallerAccount", id);
	}
	if (strcmp(principal, ATTEMPT_STRANGER) == 0)
		r |= json_object_set_new(context, "aws:PrincipalOrgID", json_string("o-stranger"));
	return r < 0 ? -ENOMEM : 0;
}

json_t *attempt_context(const struct keypolicy *p, const json_t *statement, const char *principal,
			enum attempt_document document)
{
	json_t *context = json_object();
	int r = context ? put_principal(context, principal) : -ENOMEM;

	if (r == 0 && document != ATTEMPT_UNATTESTED)
		r = put_pcrs(context, p, statement, document);
	if (r == 0 && document == ATTEMPT_OTHER_IMAGE && attempt_pins_machine(statement) &&
	    has_secure_boot(statement))
		r = put_value(context, NITROTPM "7", OTHER);
	if (r == 0)
		return context;
	json_decref(context);
	return NULL;
}

int attempt_reencrypt(json_t *context)
{
	int r = json_object_set_new(context, "kms:ReEncryptOnSameKey", json_string("false"));

	return r < 0 ? -ENOMEM : 0;
}

int attempt_grant(json_t *context, const char *operation, bool for_service)
{
	int r = json_object_set_new(context, "kms:GrantIsForAWSResource",
				    json_string(for_service ? "true" : "false"));

	r |= json_object_set_new(context, "kms:GrantOperations", json_pack("[s]", operation));
	if (!for_service)
		r |= json_object_set_new(context, "kms:GranteeServicePrincipal", json_null());
	return r < 0 ? -ENOMEM : 0;
}
