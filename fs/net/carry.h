/*
 * carry.h: one connection of relay.h. Internal to fs/net.
 */
#ifndef SEALEDFS_NET_CARRY_H
#define SEALEDFS_NET_CARRY_H

#include "fs/net/route.h"

/*
 * Connects to where route leads, through its proxy if it is one, and carries bytes between there
 * and near (non-blocking) until near has ended or stop_fd is readable. A negative errno, with a
 * message: no connection could be made. authority: HOST:PORT.
 */
int carry(int near, const struct route *route, const char *authority, int stop_fd,
	  struct error *err);

#endif
