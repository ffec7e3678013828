/*
 * serve.h: the evidence endpoint as a program (sealctl attest --serve): it listens, confines
 * itself, answers until a signal comes, and ends in order.
 */
#ifndef SEALEDFS_TOOLS_SERVE_H
#define SEALEDFS_TOOLS_SERVE_H

#include "tools/serve/serve_answer.h"

struct serve_options {
	const char *place; /* serve_listen() */
	struct serve_site_options site;
};

/*
 * In the main thread, while there is no other. Returns 0 after SIGTERM; ends the process by SIGINT
 * after SIGINT. Errors as serve_listen(), serve_site_new(), confine.h.
 */
int serve_run(const struct serve_options *options, struct error *err);

#endif
