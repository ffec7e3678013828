/*
 * Making a key policy. Job: statements that stand on their own, and denials behind them. Trusts the
 * caller that the PCRs are those of the image. Must never write a statement that its own linter
 * finds fault with; the caller runs it.
 */
#include "fs/keypolicy/generate.h"

#include "crypto/base/json.h"
#include "fs/keypolicy/policy.h"

#include <string.h>

#define PCR_DIGITS 96
#define NITROTPM KEYPOLICY_ATTESTATION "NitroTPMPCR"
#define ENCLAVE KEYPOLICY_ATTESTATION "PCR"

/* arn:PARTITION:iam::ACCOUNT:role/… or user/…; an owner may be the account's root. */
static bool is_principal(const char *arn, bool may_be_root)
{
	const char *p = arn + 4;
	size_t partition;

	if (strncmp(arn, "arn:", 4) != 0 || strpbrk(arn, "*?\"\\ "))
		return false;
	partition = strcspn(p, ":");
	p += partition;
	if (partition == 0 || strncmp(p, ":iam::", 6) != 0)
		return false;
	p += 6;
	if (strspn(p, "0123456789") != 12 || p[12] != ':')
		return false;
	p += 13;
	return ((strncmp(p, "role/", 5) == 0 || strncmp(p, "user/", 5) == 0) && p[5]) ||
	       (may_be_root && strcmp(p, "root") == 0);
}

static int check_arns(const struct keypolicy_arns *arns, bool owner, struct error *err)
{
	for (size_t i = 0; i < arns->count; i++) {
		if (is_principal(arns->list[i], owner))
			continue;
		if (strstr(arns->list[i], ":assumed-role/"))
			error_hint(err, "give the role's ARN, not that of a session: "
					"arn:aws:iam::ACCOUNT:role/NAME");
		return error_set(err, -EINVAL, "\"%.200s\" is not the ARN of a role or user",
				 arns->list[i]);
	}
	return 0;
}

/* Who may use the key must not be able to change the rules, or to make keys. */
static int check_apart(const struct keypolicy_recipe *r, struct error *err)
{
	const struct keypolicy_arns *others[] = {&r->owners, &r->sealers};

	for (size_t i = 0; i < r->roles.count; i++)
		for (size_t k = 0; k < ARRAY_LEN(others); k++)
			for (size_t n = 0; n < others[k]->count; n++)
				if (strcmp(r->roles.list[i], others[k]->list[n]) == 0)
					return error_set(err, -EINVAL,
							 "%.200s cannot be a runtime role and "
							 "owner or sealer as well",
							 r->roles.list[i]);
	return 0;
}

static json_t *principal(const struct keypolicy_arns *arns)
{
	json_t *list = json_array();

	if (arns->count == 1)
		json_array_clear(list);
	for (size_t i = 0; i < arns->count; i++)
		json_array_append_new(list, json_string(arns->list[i]));
	if (arns->count == 1) {
		json_t *one = json_incref(json_array_get(list, 0));

		json_decref(list);
		list = one;
	}
	return json_pack("{s:o}", "AWS", list);
}

static bool is_pcr_value(const char *text)
{
	return strlen(text) == PCR_DIGITS && strspn(text, "0123456789abcdef") == PCR_DIGITS;
}

/* Values of a PCR, each once: a string, or a list of several. NULL: none. */
static json_t *pcr_values(const struct keypolicy_recipe *r, const char *pcr)
{
	const json_t *given = json_object_get(r->pcrs, pcr);
	json_t *list = json_array(), *one;
	const char *text;

	for (size_t i = 0; (text = keypolicy_text(given, i)) != NULL; i++) {
		bool known = false;

		for (size_t k = 0; k < json_array_size(list); k++)
			known |= strcmp(keypolicy_text(list, k), text) == 0;
		if (!known)
			json_array_append_new(list, json_string(text));
	}
	if (json_array_size(list) > 1)
		return list;
	one = json_incref(json_array_get(list, 0));
	json_decref(list);
	return one;
}

static int check_pcrs(const struct keypolicy_recipe *r, const char *const *pcrs, struct error *err)
{
	for (; *pcrs; pcrs++) {
		const json_t *given = json_object_get(r->pcrs, *pcrs);
		const char *text;

		if (!given && strcmp(*pcrs, "8") != 0) {
			if (strcmp(*pcrs, "12") == 0)
				error_hint(err,
					   "nitro-tpm-pcr-compute prints it since version 1.1.0");
			return error_set(err, -EINVAL, "the measurements have no PCR %s", *pcrs);
		}
		for (size_t i = 0; (text = keypolicy_text(given, i)) != NULL; i++) {
			if (!is_pcr_value(text))
				return error_set(err, -EINVAL, "PCR %s is not 96 hex digits",
						 *pcrs);
			if (r->enclave && strspn(text, "0") == PCR_DIGITS)
				return error_set(err, -EINVAL,
						 "PCR %s is zero: that is any enclave in debug "
						 "mode",
						 *pcrs);
		}
	}
	return 0;
}

static json_t *statement(const char *sid, const char *effect, json_t *who, json_t *actions)
{
	return json_pack("{s:s, s:s, s:o, s:o, s:s}", "Sid", sid, "Effect", effect, "Principal",
			 who, "Action", actions, "Resource", "*");
}

static void put_condition(json_t *s, const char *operator, json_t * keys)
{
	json_object_set_new(s, "Condition", json_pack("{s:o}", operator, keys));
}

static json_t *owner_actions(void)
{
	return json_pack("[s, s, s, s, s, s, s, s, s, s, s]", "kms:Describe*", "kms:Get*",
			 "kms:List*", "kms:PutKeyPolicy", "kms:EnableKey", "kms:DisableKey",
			 "kms:ScheduleKeyDeletion", "kms:CancelKeyDeletion", "kms:RevokeGrant",
			 "kms:CreateAlias", "kms:DeleteAlias");
}

static const char *key_name(const struct keypolicy_recipe *r, const char *pcr, char out[64])
{
	(void)snprintf(out, 64, "%s%s", r->enclave ? ENCLAVE : NITROTPM, pcr);
	return out;
}

/* The Allow needs every PCR; each Deny has one, since all conditions of a Deny must hold for it. */
static void put_runtime(json_t *list, const struct keypolicy_recipe *r, const char *const *pcrs)
{
	json_t *keys = json_object(), *allow;
	char key[64], sid[64];

	if (r->enclave)
		json_object_set_new(keys, KEYPOLICY_ATTESTATION "ImageSha384", pcr_values(r, "0"));
	for (size_t i = 0; pcrs[i]; i++)
		if (json_object_get(r->pcrs, pcrs[i]))
			json_object_set_new(keys, key_name(r, pcrs[i], key),
					    pcr_values(r, pcrs[i]));
	allow = statement("ApprovedImageUnlocks", "Allow", principal(&r->roles),
			  json_string("kms:Decrypt"));
	put_condition(allow, "StringEqualsIgnoreCase", keys);
	json_array_append_new(list, allow);
	for (size_t i = 0; pcrs[i]; i++) {
		json_t *deny, *values = pcr_values(r, pcrs[i]);

		if (!values)
			continue;
		(void)snprintf(sid, sizeof(sid), "NobodyDecryptsWithoutPCR%s", pcrs[i]);
		deny = statement(sid, "Deny", json_string("*"), json_string("kms:Decrypt"));
		put_condition(deny, "StringNotEqualsIgnoreCase",
			      json_pack("{s:o}", key_name(r, pcrs[i], key), values));
		json_array_append_new(list, deny);
	}
}

static json_t *make_document(const struct keypolicy_recipe *r, const char *const *pcrs)
{
	const struct keypolicy_arns *sealers = r->sealers.count ? &r->sealers : &r->owners;
	json_t *list = json_array();

	json_array_append_new(list, statement("OwnerManagesTheKey", "Allow", principal(&r->owners),
					      owner_actions()));
	json_array_append_new(list,
			      statement("SealerWrapsDataKeys", "Allow", principal(sealers),
					json_pack("[s, s]", "kms:GenerateDataKey", "kms:Encrypt")));
	put_runtime(list, r, pcrs);
	json_array_append_new(list, statement("NobodyCarriesTheKeyOut", "Deny", json_string("*"),
					      json_pack("[s, s, s]", "kms:CreateGrant",
							"kms:ReEncryptFrom", "kms:ReplicateKey")));
	/* NotAction in a Deny: everything else, also what KMS will be able to do later. */
	json_array_append_new(list,
			      json_pack("{s:s, s:s, s:o, s:[s, s, s], s:s}", "Sid",
					"RuntimeOnlyDecrypts", "Effect", "Deny", "Principal",
					principal(&r->roles), "NotAction", "kms:Decrypt",
					"kms:DescribeKey", "kms:GetKeyPolicy", "Resource", "*"));
	return json_pack("{s:s, s:o}", "Version", "2012-10-17", "Statement", list);
}

int keypolicy_generate(const struct keypolicy_recipe *recipe, char **ret, struct error *err)
{
	static const char *const nitrotpm[] = {"4", "7", "12", NULL};
	static const char *const enclave[] = {"0", "1", "2", "8", NULL};
	const char *const *pcrs = recipe->enclave ? enclave : nitrotpm;
	_cleanup_json_ json_t *document = NULL;
	char *text;
	int r = check_arns(&recipe->owners, true, err);

	if (r == 0)
		r = check_arns(&recipe->sealers, false, err);
	if (r == 0)
		r = check_arns(&recipe->roles, false, err);
	if (r == 0 && (recipe->owners.count == 0 || recipe->roles.count == 0))
		r = error_set(err, -EINVAL, "a policy needs an owner and a runtime role");
	if (r == 0)
		r = check_apart(recipe, err);
	if (r == 0)
		r = check_pcrs(recipe, pcrs, err);
	if (r < 0)
		return r;
	document = make_document(recipe, pcrs);
	text = document ? json_dumps(document, JSON_INDENT(2)) : NULL;
	if (!text)
		return error_set(err, -ENOMEM, "out of memory");
	if (strlen(text) > KEYPOLICY_SIZE_MAX) {
		free(text);
		error_hint(err, "give fewer images or roles; a second key can have the others");
		return error_set(err, -E2BIG, "the policy has more than KMS's %d bytes",
				 KEYPOLICY_SIZE_MAX);
	}
	*ret = text;
	return 0;
}
