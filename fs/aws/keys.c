/*
 * AWS keys. Job: check keys from a source and keep them until their last user is done. Answers are
 * untrusted. Must never put a key into a message, nor free one without wiping it.
 */
#include "fs/aws/keys.h"

#include "crypto/base/json.h"
#include "fs/net/dates.h"
#include "fs/net/text.h"

#include <errno.h>
#include <string.h>

#define KEY_ID_MAX 128
#define SECRET_KEY_TEXT_MAX 256
#define SESSION_TOKEN_MAX 16384

static bool is_token(const char *s, size_t max)
{
	return s[0] && strlen(s) <= max && text_is_graphic(s);
}

int credentials_new(const char *access_key_id, const char *secret_key, const char *session_token,
		    int64_t expires_s, const char *source, struct credentials **ret)
{
	_cleanup_(credentials_unrefp) struct credentials *c = NULL;
	int r;

	if (!is_token(access_key_id, KEY_ID_MAX) || strpbrk(access_key_id, "/\"'") ||
	    !is_token(secret_key, SECRET_KEY_TEXT_MAX) ||
	    (session_token && !is_token(session_token, SESSION_TOKEN_MAX)))
		return -EINVAL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->references = 1;
	c->expires_s = expires_s;
	c->source = source;
	c->access_key_id = strdup(access_key_id);
	if (session_token)
		c->session_token = strdup(session_token);
	if (!c->access_key_id || (session_token && !c->session_token))
		return -ENOMEM;
	r = secret_new_from(secret_key, strlen(secret_key), &c->secret_key);
	if (r < 0)
		return r;
	*ret = steal_ptr(c);
	return 0;
}

struct credentials *credentials_ref(struct credentials *c)
{
	__atomic_add_fetch(&c->references, 1, __ATOMIC_RELAXED);
	return c;
}

void credentials_unref(struct credentials *c)
{
	if (!c || __atomic_sub_fetch(&c->references, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	text_wipe_free(c->session_token);
	free(c->access_key_id);
	secret_free(c->secret_key);
	free(c);
}

bool credentials_same(const struct credentials *a, const struct credentials *b)
{
	return strcmp(a->access_key_id, b->access_key_id) == 0 &&
	       strcmp(a->session_token ? a->session_token : "",
		      b->session_token ? b->session_token : "") == 0;
}

int credentials_from_answer(const struct credentials_answer *answer, const char *source,
			    struct credentials **ret, struct error *err)
{
	int64_t expires_s = 0;
	int r;

	if (!answer->id || !answer->key)
		return error_set(err, -EREMOTEIO,
				 "the answer lacks AccessKeyId or SecretAccessKey");
	if (!answer->may_be_permanent && (!answer->token || !answer->expiration))
		return error_set(err, -EREMOTEIO,
				 "the answer lacks the session token or Expiration");
	if (answer->expiration && date_parse_rfc3339(answer->expiration, &expires_s) < 0)
		return error_set(err, -EREMOTEIO, "malformed Expiration in the answer");
	r = credentials_new(answer->id, answer->key, answer->token, expires_s, source, ret);
	if (r == -EINVAL)
		return error_set(err, -EREMOTEIO, "malformed keys in the answer");
	return r < 0 ? error_set(err, r, "out of memory for keys") : 0;
}

int credentials_parse_json(const void *data, size_t size, const char *source,
			   struct credentials **ret, struct error *err)
{
	_cleanup_json_ json_t *object = json_object_parse(data, size);
	const char *code = json_text(object, "Code"), *message = json_text(object, "Message");
	const struct credentials_answer answer = {.id = json_text(object, "AccessKeyId"),
						  .key = json_text(object, "SecretAccessKey"),
						  .token = json_text(object, "Token"),
						  .expiration = json_text(object, "Expiration")};

	if (!object)
		return error_set(err, -EREMOTEIO, "the answer is not a JSON object");
	if (code && strcmp(code, "Success") != 0)
		return error_set(err, -EKEYREJECTED, "%.100s%s%.300s", code, message ? ": " : "",
				 message ? message : "");
	return credentials_from_answer(&answer, source, ret, err);
}
