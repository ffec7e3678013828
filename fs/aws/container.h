/*
 * container.h: keys from the agent that ECS, EKS Pod Identity and Greengrass put beside a container
 * (SDK reference guide, "Container credential provider").
 */
#ifndef SEALEDFS_AWS_CONTAINER_H
#define SEALEDFS_AWS_CONTAINER_H

#include "fs/net/http.h"

struct credentials;

/* True when the environment names an agent. */
bool container_configured(void);
/* -EINVAL configuration, -EKEYREJECTED refused, -EREMOTEIO nonsense, network errors as http.h. */
int container_credentials(struct http_client *http, struct credentials **ret, struct error *err);

#endif
