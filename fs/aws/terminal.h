/*
 * terminal.h: one question to the person at the terminal. Internal to fs/aws. Threads: one at a
 * time.
 */
#ifndef SEALEDFS_AWS_TERMINAL_H
#define SEALEDFS_AWS_TERMINAL_H

#include "crypto/base/error.h"

#define TERMINAL_ANSWER_MAX 64

/* Shows "WHAT NAME: " and reads a line without echo. -EINVAL: there is no terminal, or no answer.
 */
int terminal_ask(const char *what, const char *name, char ret[TERMINAL_ANSWER_MAX],
		 struct error *err);

#endif
