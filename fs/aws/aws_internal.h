/*
 * aws_internal.h: the shared AWS object as the services' files use it. Internal to fs/aws.
 */
#ifndef SEALEDFS_AWS_AWS_INTERNAL_H
#define SEALEDFS_AWS_AWS_INTERNAL_H

#include "fs/aws/aws.h"
#include "fs/aws/call.h"
#include "fs/aws/config.h"

#include <pthread.h>

struct credential_chain;
struct imds;

struct aws {
	struct aws_config config;
	struct http_client *http;
	struct imds *imds;
	struct credential_chain *chain;
	struct caller caller; /* signs with the chain's keys */
	pthread_mutex_t lock;
	char region[ENDPOINT_REGION_MAX]; /* from IMDS or by default; guarded by lock */
};

#endif
