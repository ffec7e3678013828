/*
 * keeper_backing.h: the keeper's second socket: memory files that the kernel reads for the mount's
 * readers (FUSE passthrough). To register one takes CAP_SYS_ADMIN, which the daemon does not have.
 *
 * The daemon announces a request by one byte, and the keeper confirms it by one. Then comes one
 * struct with its descriptors: the connection, and to open a backing file that file. The answer is
 * one number. Descriptors are so never on their way while the keeper waits for the mount's answer
 * to a probe: a connection that is on its way lives on when the daemon dies, and nothing would end
 * that wait. Private to fs/mount.
 */
#ifndef SEALEDFS_MOUNT_KEEPER_BACKING_H
#define SEALEDFS_MOUNT_KEEPER_BACKING_H

#include <stdint.h>

struct keeper_backing {
	uint32_t close_id; /* 0: open one */
};
struct keeper_backing_answer {
	int32_t code; /* of open: the id, above 0; of close: 0; negative errno */
};

#define KEEPER_BACKING_FDS 2

/*
 * In the keeper: answers one announced request. It registers only a memory file that is sealed for
 * ever against writing and changes of size: so nobody can make the kernel, with the keeper's
 * rights, read anything else. 0; negative: the socket is of no more use.
 */
int keeper_backing_serve(int socket);

#endif
