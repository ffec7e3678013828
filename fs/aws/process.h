/*
 * process.h: keys from the program that credential_process of a profile names (SDK reference guide,
 * "Process credential provider"). Internal to fs/aws. Thread-safe.
 */
#ifndef SEALEDFS_AWS_PROCESS_H
#define SEALEDFS_AWS_PROCESS_H

#include "fs/aws/keys.h"

struct http_client;

#define PROCESS_TIMEOUT_MS (5 * 60 * 1000)

/*
 * Runs the program without a shell and waits for its end; its standard error, and its standard
 * input if that is a terminal, are ours. Must not run beside another wait for any child. -EINVAL:
 * not a command, or no such program; -EIO: it failed, or its output is unusable; -ETIMEDOUT: it was
 * ended after timeout_ms; -ECANCELED: http was cancelled.
 */
int process_credentials(struct http_client *http, const char *command, unsigned timeout_ms,
			struct credentials **ret, struct error *err);

#endif
