/*
 * room.h: how much more the page cache may hold before somebody has to give something up: what the
 * daemon's control groups leave (pages that the daemon pushes are charged to it), and what the
 * machine has. Threads: any.
 */
#ifndef SEALEDFS_ROOM_H
#define SEALEDFS_ROOM_H

#include <stdint.h>

/*
 * Bytes below the nearest of memory.high and memory.max (version 2) or memory.limit_in_bytes
 * (version 1), from a group up to the root; UINT64_MAX without a limit. root: where the hierarchy
 * is mounted; cgroup: as in /proc/self/cgroup.
 */
uint64_t room_in_cgroup(const char *root, const char *cgroup);
/* From the text of /proc/meminfo: what is available beyond a twentieth of the memory. */
uint64_t room_in_machine(const char *meminfo);
/* For this process, now: the smaller of the two. held: bytes that the page cache has of us, which
 * count as available and must not be given up for others. */
uint64_t room_now(uint64_t held);

#endif
