/*
 * credentials.h: AWS keys: where they come from, kept until they expire, refreshed by one thread
 * while the others go on with what there is.
 *
 * Order: environment, profile files (with the roles that they name), web identity, container or EKS
 * pod, IMDSv2. Keys that expire are renewed
 * from 15 minutes before; when the renewal fails, or gives keys that are dead already, the old ones
 * stay in use ("static stability") and the source is asked again later. Thread-safe.
 */
#ifndef SEALEDFS_NET_CREDENTIALS_H
#define SEALEDFS_NET_CREDENTIALS_H

#include "crypto/base/secret.h"
#include "fs/net/config.h"
#include "fs/net/http.h"

struct imds;
struct credential_chain;

/* Immutable and counted. */
struct credentials {
	char *access_key_id;
	struct secret *secret_key;
	char *session_token; /* NULL: long-lived keys */
	int64_t expires_s;   /* 0: not known to expire */
	const char *source;  /* "environment", …: static, for messages */
	unsigned references;
};

/* Takes copies; secret is not wiped. -EINVAL: not keys that AWS would give. */
int credentials_new(const char *access_key_id, const char *secret_key, const char *session_token,
		    int64_t expires_s, const char *source, struct credentials **ret);
struct credentials *credentials_ref(struct credentials *c);
void credentials_unref(struct credentials *c);

/* All must outlive the chain. imds may be NULL. */
int credential_chain_new(const struct aws_config *config, struct http_client *http,
			 struct imds *imds, struct credential_chain **ret);
void credential_chain_free(struct credential_chain *chain);
/*
 * The keys to sign with; the caller unrefs them. rejected: keys that AWS has just refused; they are
 * not returned again unless the source has no others. -EINVAL no source has keys, -EKEYREJECTED the
 * source refuses, else the source's network error.
 */
int credential_chain_get(struct credential_chain *chain, const struct credentials *rejected,
			 struct credentials **ret, struct error *err);

/*
 * {AccessKeyId, SecretAccessKey, Token, Expiration} as IMDS and containers answer. -EREMOTEIO
 * nonsense, -EKEYREJECTED Code and Message in place of keys.
 */
int credentials_parse_json(const void *data, size_t size, const char *source,
			   struct credentials **ret, struct error *err);

DEFINE_CLEANUP(struct credentials *, credentials_unref)
DEFINE_CLEANUP(struct credential_chain *, credential_chain_free)

#endif
