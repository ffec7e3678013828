/*
 * set_state.h: the highest version of each set that this machine has seen, in a file (set-state=),
 * so that an older one cannot be put back.
 *
 * The file is text: the line "sealedfs-set-state-v1", then one line for each set, sorted by id:
 * "ID VERSION DIGEST", ID and DIGEST (distinguishes two contents of one version) as 64 hex
 * digits, VERSION decimal. It is replaced as a whole under the lock of ".FILE.lock" beside it,
 * so any number of daemons may share it. Whoever can write it or its folder can roll sets back:
 * both must belong to root or the daemon's user. Threads: any.
 */
#ifndef SEALEDFS_MODELS_SET_STATE_H
#define SEALEDFS_MODELS_SET_STATE_H

#include "crypto/base/error.h"

#include <stdint.h>

#define SET_STATE_ID_SIZE 32
#define SET_STATE_DIGEST_SIZE 32
#define SET_STATE_SETS_MAX 1024

struct set_seen {
	uint8_t id[SET_STATE_ID_SIZE];
	uint64_t version;
	uint8_t digest[SET_STATE_DIGEST_SIZE];
};

/*
 * Compares with what the file has of this set, and records it if it is newer; 0: it may be used,
 * and the file will refuse older ones also after a power cut. label: the set, for messages.
 * -EBADMSG: the file has a newer version (old-set), or this version with another digest. -EPROTO:
 * the file is damaged; -EINVAL: others can change it; other -errno: it cannot be read or written.
 */
int set_state_accept(const char *path, const struct set_seen *now, const char *label,
		     struct error *err);

#endif
