/*
 * set_state.h: the highest version of each set that this machine has seen or written, in a file
 * (set-state=), so that neither an older one can be put back nor a set that was replaced.
 *
 * The file is text: the line "sealedfs-set-state-v1", then one line for each set, sorted by id:
 * "ID VERSION DIGEST", ID and DIGEST (distinguishes two contents of one version) as 64 hex
 * digits, VERSION decimal. Of a set that its owner replaced by another one, VERSION is the word
 * "replaced", and DIGEST is the other's id. The file is replaced as a whole under the lock of
 * ".FILE.lock" beside it, so any number of daemons and writers may share it. Whoever can write it
 * or its folder can roll sets back: both must belong to root or the user. Threads: any.
 */
#ifndef SEALEDFS_SET_STATE_H
#define SEALEDFS_SET_STATE_H

#include "crypto/set.h"

#define SET_STATE_ID_SIZE SET_ID_SIZE
#define SET_STATE_DIGEST_SIZE 32
#define SET_STATE_SETS_MAX 1024
#define SET_STATE_REPLACED UINT64_MAX /* more than any set's version */

struct set_seen {
	uint8_t id[SET_STATE_ID_SIZE];
	uint64_t version;
	uint8_t digest[SET_STATE_DIGEST_SIZE];
};

/*
 * Compares with what the file has of this set, and records it if it is newer; 0: it may be used,
 * and the file will refuse older ones also after a power cut. label: the set, for messages.
 * -EBADMSG: the file has a newer version or a successor (old-set), or this version with another
 * digest. -EPROTO: the file is damaged; -EINVAL: others can change it; other -errno: it cannot be
 * read or written.
 */
int set_state_accept(const char *path, const struct set_seen *now, const char *label,
		     struct error *err);
/* Records what was just written here; another writer may have recorded more already. replaced: the
 * id of the set in whose place it is; NULL: none. Errors of the file as above. */
int set_state_written(const char *path, const struct set_seen *now, const uint8_t *replaced,
		      struct error *err);
/* Whether the file can be used: errors as above. */
int set_state_check(const char *path, struct error *err);
int set_state_of(const struct set *set, struct set_seen *ret);

#endif
