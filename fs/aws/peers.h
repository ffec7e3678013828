/*
 * peers.h: the link-local addresses that AWS has defined for what gives credentials, asked without
 * TLS (EC2 user guide, "Access instance metadata"; SDK reference guide, "Container credential
 * provider"). Constants.
 */
#ifndef SEALEDFS_AWS_PEERS_H
#define SEALEDFS_AWS_PEERS_H

#include "fs/net/transport.h"

/* IMDS; and ECS and EKS agents, for which what allow-http names does not count. */
extern const struct transport_peer aws_metadata_peer, aws_container_peer;

#endif
