/*
 * keeper_process.h: what the keeper and the daemon say to each other. For keeper.c only.
 *
 * One byte asks, one struct answers; with the answer to KEEPER_MOUNT comes a file descriptor.
 */
#ifndef SEALEDFS_KEEPER_PROCESS_H
#define SEALEDFS_KEEPER_PROCESS_H

#include "fs/keeper.h"

enum keeper_op { KEEPER_MOUNT = 1, KEEPER_PROBE, KEEPER_DETACH, KEEPER_FORGET };

struct keeper_answer {
	int code; /* 0 or negative errno */
	char text[512];
};

/* The keeper. fd: to the daemon; what->path is absolute. Ends when the daemon has ended. */
_Noreturn void keeper_process(const struct keeper_mount *what, int fd);

#endif
