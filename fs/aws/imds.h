/*
 * imds.h: the instance metadata service, version 2 only (EC2 user guide, "Use IMDSv2"). Never
 * through a proxy, never without a session token. Thread-safe.
 */
#ifndef SEALEDFS_AWS_IMDS_H
#define SEALEDFS_AWS_IMDS_H

#include "fs/aws/config.h"
#include "fs/net/http.h"

struct imds;
struct credentials;

/* Both must outlive it. */
int imds_new(const struct aws_config *config, struct http_client *http, struct imds **ret);
void imds_free(struct imds *m);
/*
 * -EAGAIN the instance has no role (yet); -EINVAL IMDS is disabled by configuration; -EKEYREJECTED
 * IMDS is off or the role cannot be used; -EREMOTEIO nonsense; network errors as http.h.
 */
int imds_credentials(struct imds *m, struct credentials **ret, struct error *err);
/* malloc()ed. */
int imds_region(struct imds *m, char **ret, struct error *err);

DEFINE_CLEANUP(struct imds *, imds_free)

#endif
