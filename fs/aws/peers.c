/* Addresses of AWS on the link of an instance or a container. */
#include "fs/aws/peers.h"

static const char *const metadata_hosts[] = {"169.254.169.254", "[fd00:ec2::254]", NULL};
static const char *const container_hosts[] = {"169.254.170.2", "169.254.170.23", "[fd00:ec2::23]",
					      NULL};

const struct transport_peer aws_metadata_peer = {.hosts = metadata_hosts};
const struct transport_peer aws_container_peer = {
	.hosts = container_hosts, .only = "the addresses of AWS's container agents"};
