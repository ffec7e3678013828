/*
 * keys.h: AWS keys as an object, and making one from what a source answered. Pure. Thread-safe.
 */
#ifndef SEALEDFS_AWS_KEYS_H
#define SEALEDFS_AWS_KEYS_H

#include "crypto/base/error.h"
#include "crypto/base/secret.h"

/* Immutable and counted. */
struct credentials {
	char *access_key_id;
	struct secret *secret_key;
	char *session_token; /* NULL: long-lived keys */
	int64_t expires_s;   /* 0: not known to expire */
	const char *source;  /* "environment", …: static, for messages */
	unsigned references;
};

/* Copies its arguments; does not wipe secret_key. -EINVAL: AWS does not issue such keys. */
int credentials_new(const char *access_key_id, const char *secret_key, const char *session_token,
		    int64_t expires_s, const char *source, struct credentials **ret);
struct credentials *credentials_ref(struct credentials *c);
void credentials_unref(struct credentials *c);
/* Whether AWS treats both alike: the same id and session token. */
bool credentials_same(const struct credentials *a, const struct credentials *b);

/* What a source answered; NULL: absent. */
struct credentials_answer {
	const char *id, *key, *token;
	const char *expiration; /* RFC 3339 */
	bool may_be_permanent;	/* token and expiration may be absent */
};

/* -EREMOTEIO: something is absent or malformed. */
int credentials_from_answer(const struct credentials_answer *answer, const char *source,
			    struct credentials **ret, struct error *err);
/*
 * {AccessKeyId, SecretAccessKey, Token, Expiration} as IMDS and containers answer. -EREMOTEIO
 * malformed, -EKEYREJECTED: Code and Message in place of keys.
 */
int credentials_parse_json(const void *data, size_t size, const char *source,
			   struct credentials **ret, struct error *err);

DEFINE_CLEANUP(struct credentials *, credentials_unref)

#endif
