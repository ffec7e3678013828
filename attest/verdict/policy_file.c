/*
 * Policy files. Job: every member into its field, or a refusal that names it. Must never ignore a
 * member: a policy that is half understood accepts more than its author wrote.
 */
#include "attest/verdict/policy_file.h"

#include "crypto/base/encode.h"
#include "crypto/base/json.h"

#include <errno.h>
#include <string.h>

/* What every member's function needs. */
struct parse {
	struct policy_file *policy;
	const char *name; /* of the file */
	struct error *err;
};

static int refuse(const struct parse *p, const char *member, const char *what)
{
	return error_set(p->err, -EINVAL, "%s: \"%s\" %s", p->name, member, what);
}

static int take_texts(const struct parse *p, const char *member, const json_t *value,
		      struct text_list *ret)
{
	size_t count = json_array_size(value);

	if (!json_is_array(value) || count == 0 || count > POLICY_FILE_LIST_MAX)
		return refuse(p, member, "is not a list of 1 to 1024 texts");
	ret->items = calloc(count, sizeof(*ret->items));
	if (!ret->items)
		return error_set(p->err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < count; i++) {
		const char *text = json_string_value(json_array_get(value, i));

		if (!text || !*text)
			return refuse(p, member, "has an entry that is no text, or empty");
		ret->items[ret->count++] = text;
	}
	return 0;
}

static int add_boot(const struct parse *p, unsigned pcr, const json_t *value)
{
	struct policy_file *policy = p->policy;
	struct verdict_boot *more;
	const char *hex = json_string_value(value);

	if (policy->boot_count == POLICY_FILE_LIST_MAX)
		return refuse(p, "pcrs", "has more than 1024 values");
	more = reallocarray(policy->boot, policy->boot_count + 1, sizeof(*more));
	if (!more)
		return error_set(p->err, -ENOMEM, "out of memory");
	policy->boot = more;
	more[policy->boot_count].pcr = pcr;
	if (!hex || strlen(hex) != 2 * (size_t)MEASUREMENTS_PCR_SIZE ||
	    hex_decode(hex, more[policy->boot_count].value, MEASUREMENTS_PCR_SIZE) < 0)
		return refuse(p, "pcrs", "has a value that is not 96 hex digits");
	policy->boot_count++;
	return 0;
}

/* {"4": [HEX, …], "12": HEX} */
static int take_pcrs(const struct parse *p, const json_t *value)
{
	const char *number;
	json_t *values, *each;
	uint64_t pcr;
	size_t i;
	int r = 0;

	if (json_object_size(value) == 0)
		return refuse(p, "pcrs", "is not an object with values");
	json_object_foreach ((json_t *)(uintptr_t)value, number, values) {
		if (number_parse(number, 10, DOCUMENT_PCRS_MAX - 1, &pcr) < 0 ||
		    (number[0] == '0' && number[1]))
			return refuse(p, "pcrs", "has a name that is no PCR, 0 to 31");
		if (json_is_string(values))
			r = add_boot(p, (unsigned)pcr, values);
		else if (json_array_size(values) == 0)
			return refuse(p, "pcrs", "has an entry without a value");
		json_array_foreach (values, i, each)
			if (r == 0)
				r = add_boot(p, (unsigned)pcr, each);
		if (r < 0)
			return r;
	}
	return 0;
}

static int take_modes(const struct parse *p, const json_t *value)
{
	struct text_list words = {.items = NULL};
	int r = take_texts(p, "measure", value, &words);

	for (size_t i = 0; r == 0 && i < words.count; i++) {
		enum measure_mode mode;

		if (measure_mode_parse(words.items[i], &mode) < 0 || mode == MEASURE_NONE)
			r = refuse(
				p, "measure",
				"has a mode that is not verity, declared, set, sha384 or sha256");
		else
			p->policy->modes |= 1U << mode;
	}
	free(words.items);
	return r;
}

/* At most max. */
static int take_number(const struct parse *p, const char *member, const json_t *value, uint64_t max,
		       uint64_t *ret)
{
	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
	    (uint64_t)json_integer_value(value) > max)
		return refuse(p, member, "is not a number in its range");
	*ret = (uint64_t)json_integer_value(value);
	return 0;
}

static int take_member(const struct parse *p, const char *member, const json_t *value)
{
	struct policy_file *policy = p->policy;
	uint64_t number = 0;
	int r;

	if (strcmp(member, "root") == 0) {
		policy->root = json_string_value(value);
		return policy->root && *policy->root ? 0 : refuse(p, member, "is not a path");
	}
	if (strcmp(member, "max_age") == 0) {
		policy->has_max_age = true;
		return take_number(p, member, value, INT32_MAX, &policy->max_age_s);
	}
	if (strcmp(member, "model_pcr") == 0) {
		policy->has_pcr = true;
		r = take_number(p, member, value, 15, &number);
		policy->pcr = (unsigned)number;
		return r;
	}
	if (strcmp(member, "debug") == 0) {
		policy->has_debug = true;
		policy->debug = json_is_true(value);
		return json_is_boolean(value) ? 0 : refuse(p, member, "is not true or false");
	}
	if (strcmp(member, "pcrs") == 0)
		return take_pcrs(p, value);
	if (strcmp(member, "measure") == 0)
		return take_modes(p, value);
	if (strcmp(member, "measurements") == 0)
		return take_texts(p, member, value, &policy->measurements);
	if (strcmp(member, "models") == 0)
		return take_texts(p, member, value, &policy->models);
	if (strcmp(member, "owner_keys") == 0)
		return take_texts(p, member, value, &policy->owner_keys);
	return refuse(p, member, "is not a member that this version knows");
}

int policy_file_parse(const void *json, size_t size, const char *name, struct policy_file *ret,
		      struct error *err)
{
	struct policy_file policy = {.json = NULL};
	struct parse p = {.policy = &policy, .name = name, .err = err};
	const char *member;
	json_t *value;
	int r = 0;

	if (size > POLICY_FILE_SIZE_MAX)
		return error_set(err, -EFBIG, "%s: a policy has 1 MiB at most", name);
	policy.json = json_object_parse(json, size);
	if (!policy.json)
		return error_set(err, -EINVAL, "%s: not a JSON object without doubled members",
				 name);
	json_object_foreach (policy.json, member, value) {
		r = take_member(&p, member, value);
		if (r < 0)
			break;
	}
	if (r < 0)
		policy_file_clear(&policy);
	else
		*ret = policy;
	return r;
}

void policy_file_clear(struct policy_file *p)
{
	free(p->boot);
	free(p->measurements.items);
	free(p->models.items);
	free(p->owner_keys.items);
	json_decref(p->json);
	*p = (struct policy_file){.json = NULL};
}
