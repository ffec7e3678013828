/*
 * key_chain.h: AWS keys from the first source that has some, cached until they expire. One thread
 * renews them while the others continue with the current ones.
 *
 * Order: environment; profile files and web identity (profile_keys.h); container or EKS pod;
 * IMDSv2. Keys that expire are renewed from 15 minutes before. If the renewal fails, or returns
 * keys that have already expired, the old ones stay in use ("static stability") and the source is
 * asked again later. Thread-safe.
 */
#ifndef SEALEDFS_AWS_KEY_CHAIN_H
#define SEALEDFS_AWS_KEY_CHAIN_H

#include "fs/aws/config.h"
#include "fs/aws/keys.h"

struct credential_chain;
struct http_client;
struct imds;

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

DEFINE_CLEANUP(struct credential_chain *, credential_chain_free)

#endif
