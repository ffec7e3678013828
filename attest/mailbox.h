/*
 * mailbox.h: the NV index through which a NitroTPM takes an attestation request and gives its
 * answer, and the one vendor command between the two (AWS NitroTPM-Tools, nitro-tpm-attest).
 *
 * Which index: each lock file belongs to one index in the owner's range. An index that the holder
 * of the lock finds there was left by a process that died, and is removed. Without a lock (no
 * writable runtime directory), or if another program uses that index, a free one is chosen at
 * random.
 */
#ifndef SEALEDFS_MAILBOX_H
#define SEALEDFS_MAILBOX_H

#include "attest/tpm_internal.h"

#include <stddef.h>

#define MAILBOX_SIZE 8192 /* NV bytes, for the request and then the response */

struct mailbox_lock {
	int fd;		/* -1: none */
	uint32_t index; /* the NV index that this lock guards; 0: none */
};

struct mailbox {
	struct tpm *tpm;
	uint32_t index;
	ESYS_TR handle;
	TPM2B_AUTH auth;      /* the index's password, known to this process and the TPM */
	uint16_t chunk_bytes; /* of one NV read or write */
};

/* Waits for other processes; never fails, see above. */
void mailbox_lock(struct mailbox_lock *ret);
void mailbox_unlock(struct mailbox_lock *l);
#define _cleanup_mailbox_lock_ _cleanup_(mailbox_unlock)

/* Defines the index. -ENOSPC: the TPM has no room for it; -EIO. */
int mailbox_open(struct tpm *t, const struct mailbox_lock *lock, struct mailbox *ret,
		 struct error *err);
int mailbox_write(struct mailbox *m, const uint8_t *data, size_t size, struct error *err);
/* Reads one chunk at offset into out (room for MAILBOX_SIZE - offset). */
int mailbox_read(struct mailbox *m, size_t offset, uint8_t *out, size_t *ret_size,
		 struct error *err);
/* Removes the index; opens a new connection for it when the old one broke. */
void mailbox_close(struct mailbox *m);

/*
 * The indices that look like mailboxes, of any process: one in use, or left by a process that died.
 * At most max. -EIO.
 */
int mailbox_list(struct tpm *t, uint32_t *ret, size_t max, size_t *ret_count, struct error *err);

/* vendor.c. Has the TPM replace the request by its response. -EOPNOTSUPP: no such command. */
int mailbox_request(struct mailbox *m, struct error *err);

#endif
