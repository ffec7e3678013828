/*
 * Key policies as JSON. Job: one shape check for everything that the other files here read. Trusts
 * nothing. Must never pass an element on that is not evaluated: an unknown one could have any
 * meaning.
 */
#include "fs/keypolicy/policy.h"

#include "crypto/base/json.h"

#include <string.h>

struct keypolicy {
	json_t *statements; /* an array, also where the document has one object */
};

void keypolicy_free(struct keypolicy *p)
{
	if (!p)
		return;
	json_decref(p->statements);
	free(p);
}

size_t keypolicy_count(const struct keypolicy *p)
{
	return json_array_size(p->statements);
}

const json_t *keypolicy_statement(const struct keypolicy *p, size_t index)
{
	return json_array_get(p->statements, index);
}

bool keypolicy_denies(const json_t *statement)
{
	return strcmp(json_string_value(json_object_get(statement, "Effect")), "Deny") == 0;
}

const char *keypolicy_label(const struct keypolicy *p, size_t index, char out[KEYPOLICY_SID_MAX])
{
	const char *sid = json_text(keypolicy_statement(p, index), "Sid");
	size_t at = (size_t)snprintf(out, KEYPOLICY_SID_MAX, "statement %zu", index + 1);

	if (sid)
		(void)snprintf(out + at, KEYPOLICY_SID_MAX - at, " (%.90s)", sid);
	return out;
}

const char *keypolicy_text(const json_t *strings, size_t index)
{
	if (json_is_string(strings))
		return index == 0 ? json_string_value(strings) : NULL;
	return json_string_value(json_array_get(strings, index));
}

const json_t *keypolicy_principals(const json_t *statement, const char *kind)
{
	const json_t *p = json_object_get(statement, "Principal");

	if (!p)
		p = json_object_get(statement, "NotPrincipal");
	if (json_is_string(p))
		return strcmp(kind, "AWS") == 0 ? p : NULL;
	return json_object_get(p, kind);
}

static bool known_member(const char *name, const char *const *names)
{
	for (; *names; names++)
		if (strcmp(name, *names) == 0)
			return true;
	return false;
}

/* A string, or a list of at least one; none with a NUL in it. */
static bool is_strings(const json_t *value)
{
	if (json_is_string(value))
		return strlen(json_string_value(value)) == json_string_length(value);
	for (size_t i = 0; i < json_array_size(value); i++)
		if (!json_is_string(json_array_get(value, i)) ||
		    !is_strings(json_array_get(value, i)))
			return false;
	return json_array_size(value) > 0;
}

static bool is_scalar(const json_t *value)
{
	return json_is_boolean(value) || json_is_number(value) ||
	       (json_is_string(value) && is_strings(value));
}

static bool is_condition(json_t *condition)
{
	const char *operator, * key;
	json_t *block, *values;

	json_object_foreach (condition, operator, block) {
		json_object_foreach (block, key, values) {
			for (size_t i = 0; i < json_array_size(values); i++)
				if (!is_scalar(json_array_get(values, i)))
					return false;
			if (!is_scalar(values) && json_array_size(values) == 0)
				return false;
		}
		if (json_object_size(block) == 0)
			return false;
	}
	return json_is_object(condition);
}

static bool is_principal(json_t *value)
{
	static const char *const kinds[] = {"AWS", "Service", "Federated", "CanonicalUser", NULL};
	const char *kind;
	json_t *names;

	if (json_is_string(value))
		return strcmp(json_string_value(value), "*") == 0;
	json_object_foreach (value, kind, names)
		if (!known_member(kind, kinds) || !is_strings(names))
			return false;
	return json_object_size(value) > 0;
}

/* One of Name and NotName, and that of the right form. */
static const char *check_pair(json_t *s, const char *name, const char *not_name,
			      bool (*is_right)(json_t *))
{
	json_t *plain = json_object_get(s, name), *negated = json_object_get(s, not_name);

	if (!plain == !negated || !is_right(plain ? plain : negated))
		return name;
	return NULL;
}

static bool is_strings_too(json_t *value)
{
	return is_strings(value);
}

/* NULL, or the element that is missing, unknown or malformed. */
static const char *find_fault(json_t *s)
{
	static const char *const members[] = {"Sid",	   "Effect",	"Principal", "NotPrincipal",
					      "Action",	   "NotAction", "Resource",  "NotResource",
					      "Condition", NULL};
	const char *effect = json_text(s, "Effect"), *name, *fault;
	json_t *value;

	json_object_foreach (s, name, value)
		if (!known_member(name, members))
			return name;
	if (!effect || (strcmp(effect, "Allow") != 0 && strcmp(effect, "Deny") != 0))
		return "Effect";
	value = json_object_get(s, "Sid");
	if (value && (!json_is_string(value) || !is_strings(value)))
		return "Sid";
	fault = check_pair(s, "Principal", "NotPrincipal", is_principal);
	if (!fault)
		fault = check_pair(s, "Action", "NotAction", is_strings_too);
	if (!fault)
		fault = check_pair(s, "Resource", "NotResource", is_strings_too);
	value = json_object_get(s, "Condition");
	if (!fault && value && !is_condition(value))
		fault = "Condition";
	return fault;
}

static int take_statements(struct keypolicy *p, json_t *root, const char *name, struct error *err)
{
	static const char *const members[] = {"Version", "Id", "Statement", NULL};
	json_t *list = json_object_get(root, "Statement"), *value;
	const char *member, *version = json_text(root, "Version");

	json_object_foreach (root, member, value)
		if (!known_member(member, members))
			return error_set(err, -EPROTO, "%s: \"%.64s\" is no element of a policy",
					 name, member);
	if (json_object_get(root, "Version") && (!version || (strcmp(version, "2012-10-17") != 0 &&
							      strcmp(version, "2008-10-17") != 0)))
		return error_set(err, -EPROTO, "%s: an unknown Version", name);
	p->statements = json_is_array(list) ? json_incref(list) : json_pack("[O?]", list);
	if (keypolicy_count(p) == 0)
		return error_set(err, -EPROTO, "%s: no Statement in it", name);
	for (size_t i = 0; i < keypolicy_count(p); i++) {
		json_t *s = json_array_get(p->statements, i);
		const char *fault = json_is_object(s) ? find_fault(s) : "Statement";

		if (fault)
			return error_set(
				err, -EPROTO,
				"%s: statement %zu: %.64s is missing, unknown or malformed", name,
				i + 1, fault);
	}
	return 0;
}

int keypolicy_parse(const void *json, size_t size, const char *name, struct keypolicy **ret,
		    struct error *err)
{
	_cleanup_(keypolicy_freep) struct keypolicy *p = calloc(1, sizeof(*p));
	_cleanup_json_ json_t *root = NULL;
	_cleanup_json_ json_t *outer = NULL; /* owns inner */
	const char *inner;
	int r;

	if (!p)
		return error_set(err, -ENOMEM, "out of memory");
	/* Twice: GetKeyPolicy's answer is a policy in a string, with escapes. */
	if (size > 2 * (size_t)KEYPOLICY_SIZE_MAX)
		return error_set(err, -EFBIG, "%s: a key policy has %d bytes at most", name,
				 KEYPOLICY_SIZE_MAX);
	root = json_object_parse(json, size);
	inner = json_text(root, "Policy");
	if (inner && !json_object_get(root, "Statement")) {
		outer = root; /* NOLINT(clang-analyzer-deadcode.DeadStores): freed at the end */
		root = NULL;
		size = strlen(inner);
		root = json_object_parse(inner, size);
	}
	if (size > KEYPOLICY_SIZE_MAX)
		return error_set(err, -EFBIG, "%s: a key policy has %d bytes at most", name,
				 KEYPOLICY_SIZE_MAX);
	if (!root)
		return error_set(err, -EPROTO, "%s: not a JSON object, or a member occurs twice",
				 name);
	r = take_statements(p, root, name, err);
	if (r < 0)
		return r;
	*ret = steal_ptr(p);
	return 0;
}
