/*
 * The mailbox. Job: an 8 KiB NV index that exists only for one exchange. Trusts the lock: its
 * holder is the only user of the index that belongs to it. Must never remove an index that is not
 * ours, and never leave one behind while the TPM can still be reached.
 *
 * The index has a random password, which goes to the TPM encrypted: no other process with access to
 * the TPM can read or write it. Writes and reads are encrypted on the bus and authenticated.
 */
#include "attest/mailbox.h"

#include "attest/runtime_dir.h"
#include "crypto/base/cursor.h"
#include "crypto/base/digest.h"
#include "crypto/base/fileio.h"
#include "crypto/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/rand.h>
#include <string.h>

#define LOCK_NAME "nitrotpm.lock"
#define LOCK_DEADLINE_MS 60000
#define OWNER_RANGE_FIRST 0x01800000 /* NV indices that TCG leaves to the owner */
#define OWNER_RANGE_MASK 0x003FFFFF
#define INDEX_ATTEMPTS 16
#define INDEX_ATTRIBUTES (TPMA_NV_AUTHREAD | TPMA_NV_AUTHWRITE | TPMA_NV_NO_DA)
#define CHUNK_MAX 1024	    /* what every known NitroTPM client has used at most */
#define INDEX_AUTH_BYTES 32 /* at most the size of the name's digest */

static uint32_t index_of_path(const char *path)
{
	uint8_t hash[32] = {0};

	(void)digest_buffer(DIGEST_SHA256, path, strlen(path), hash);
	return OWNER_RANGE_FIRST |
	       (((uint32_t)hash[0] << 16 | (uint32_t)hash[1] << 8 | hash[2]) & OWNER_RANGE_MASK);
}

static int lock_in(const char *dir, const char *subdir, struct mailbox_lock *ret)
{
	_cleanup_close_ int fd = -1;
	char path[4096];
	int n = snprintf(path, sizeof(path), "%s%s/" LOCK_NAME, dir, subdir), r;

	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;
	r = runtime_parent_make(path, NULL);
	if (r < 0)
		return r;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	r = file_lock(fd, false, LOCK_DEADLINE_MS);
	if (r < 0)
		return r;
	*ret = (struct mailbox_lock){.fd = steal_fd(&fd), .index = index_of_path(path)};
	return 0;
}

void mailbox_lock(struct mailbox_lock *ret)
{
	const char *user_dir = getenv("XDG_RUNTIME_DIR");

	*ret = (struct mailbox_lock){.fd = -1};
	if (lock_in(runtime_dir(), "", ret) == 0)
		return;
	if (user_dir && *user_dir == '/' && lock_in(user_dir, "/sealedfs", ret) == 0)
		return;
	log_debug("no lock file can be used in %s; the mailbox gets a random NV index",
		  runtime_dir());
}

void mailbox_unlock(struct mailbox_lock *l)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}

static TPM2B_NV_PUBLIC index_template(uint32_t index)
{
	return (TPM2B_NV_PUBLIC){.nvPublic = {.nvIndex = index,
					      .nameAlg = TPM2_ALG_SHA256,
					      .attributes = INDEX_ATTRIBUTES,
					      .dataSize = MAILBOX_SIZE}};
}

static TSS2_RC define(struct mailbox *m, uint32_t index)
{
	TPM2B_NV_PUBLIC public = index_template(index);
	struct tpm *t = m->tpm;

	return tpm_call(Esys_NV_DefineSpace(t->esys, ESYS_TR_RH_OWNER,
					    tpm_session(t, TPMA_SESSION_DECRYPT), ESYS_TR_NONE,
					    ESYS_TR_NONE, &m->auth, &public, &m->handle));
}

static TSS2_RC undefine(struct tpm *t, ESYS_TR handle)
{
	return tpm_call(Esys_NV_UndefineSpace(t->esys, ESYS_TR_RH_OWNER, handle, tpm_session(t, 0),
					      ESYS_TR_NONE, ESYS_TR_NONE));
}

/* True when the index looks exactly like one of ours; *ret is then to be closed or undefined. */
static bool is_ours(struct tpm *t, uint32_t index, ESYS_TR *ret)
{
	_cleanup_esys_ TPM2B_NV_PUBLIC *found = NULL;
	TPM2B_NV_PUBLIC ours = index_template(index);

	if (tpm_call(Esys_TR_FromTPMPublic(t->esys, index, tpm_session(t, TPMA_SESSION_AUDIT),
					   ESYS_TR_NONE, ESYS_TR_NONE, ret)) != TSS2_RC_SUCCESS)
		return false;
	if (tpm_call(Esys_NV_ReadPublic(t->esys, *ret, tpm_session(t, TPMA_SESSION_AUDIT),
					ESYS_TR_NONE, ESYS_TR_NONE, &found, NULL)) ==
		    TSS2_RC_SUCCESS &&
	    found &&
	    (found->nvPublic.attributes & ~(TPMA_NV)TPMA_NV_WRITTEN) == ours.nvPublic.attributes &&
	    found->nvPublic.dataSize == ours.nvPublic.dataSize &&
	    found->nvPublic.nameAlg == ours.nvPublic.nameAlg &&
	    found->nvPublic.authPolicy.size == 0)
		return true;
	(void)Esys_TR_Close(t->esys, ret);
	return false;
}

/* The caller holds the index's lock. */
static bool remove_stale(struct tpm *t, uint32_t index)
{
	ESYS_TR handle = ESYS_TR_NONE;

	if (!is_ours(t, index, &handle))
		return false;
	if (undefine(t, handle) == TSS2_RC_SUCCESS) {
		log_debug("removed the NV index 0x%08x that a dead process had left", index);
		return true;
	}
	(void)Esys_TR_Close(t->esys, &handle);
	return false;
}

int mailbox_list(struct tpm *t, uint32_t *ret, size_t max, size_t *ret_count, struct error *err)
{
	_cleanup_esys_ TPMS_CAPABILITY_DATA *data = NULL;
	const TPML_HANDLE *list;
	TSS2_RC rc = tpm_call(Esys_GetCapability(
		t->esys, tpm_session(t, TPMA_SESSION_AUDIT), ESYS_TR_NONE, ESYS_TR_NONE,
		TPM2_CAP_HANDLES, OWNER_RANGE_FIRST, TPM2_MAX_CAP_HANDLES, NULL, &data));

	*ret_count = 0;
	if (rc != TSS2_RC_SUCCESS)
		return tpm_fail(err, -EIO, rc, "cannot list the TPM's NV indices");
	list = &data->data.handles;
	for (UINT32 i = 0; i < MIN(list->count, (UINT32)TPM2_MAX_CAP_HANDLES); i++) {
		uint32_t index = list->handle[i];
		ESYS_TR handle = ESYS_TR_NONE;

		if ((index & ~(uint32_t)OWNER_RANGE_MASK) != OWNER_RANGE_FIRST ||
		    *ret_count == max || !is_ours(t, index, &handle))
			continue;
		(void)Esys_TR_Close(t->esys, &handle);
		ret[(*ret_count)++] = index;
	}
	return 0;
}

static int draw_index(uint32_t *ret)
{
	uint8_t random[4];

	if (RAND_bytes(random, sizeof(random)) != 1)
		return -EIO;
	*ret = OWNER_RANGE_FIRST |
	       (((uint32_t)random[0] << 16 | (uint32_t)random[1] << 8 | random[2]) &
		OWNER_RANGE_MASK);
	return 0;
}

static int define_somewhere(const struct mailbox_lock *lock, struct mailbox *m, struct error *err)
{
	uint32_t index = lock->index;
	TSS2_RC rc = TPM2_RC_NV_DEFINED;

	if (index) {
		rc = define(m, index);
		if (TPM_RC_BASE(rc) == TPM2_RC_NV_DEFINED && remove_stale(m->tpm, index))
			rc = define(m, index);
	}
	for (int n = 0; n < INDEX_ATTEMPTS && TPM_RC_BASE(rc) == TPM2_RC_NV_DEFINED; n++) {
		if (draw_index(&index) < 0)
			return error_set(err, -EIO, "no random numbers");
		rc = define(m, index);
	}
	m->index = index;
	if (rc == TSS2_RC_SUCCESS)
		return 0;
	if (TPM_RC_BASE(rc) == TPM2_RC_NV_SPACE) {
		tpm_fail(err, -ENOSPC, rc, "the TPM has no room for an attestation mailbox");
		error_hint(err, "list its NV indices with 'tpm2_getcap handles-nv-index' and "
				"remove those of 8192 bytes that nobody uses");
		return -ENOSPC;
	}
	if (TPM_RC_BASE(rc) == (TPM2_RC_SIZE | TPM2_RC_P | TPM2_RC_2)) {
		tpm_fail(err, -EOPNOTSUPP, rc, "this TPM does not offer AWS attestation");
		error_hint(err, "its NV indices are too small for a NitroTPM; attestation needs an "
				"EC2 instance whose AMI has NitroTPM enabled");
		return -EOPNOTSUPP;
	}
	return tpm_fail(err, -EIO, rc, "cannot make an attestation mailbox in the TPM");
}

static uint16_t chunk_of(struct tpm *t)
{
	_cleanup_esys_ TPMS_CAPABILITY_DATA *data = NULL;
	const TPML_TAGGED_TPM_PROPERTY *list;
	TSS2_RC rc;

	rc = tpm_call(Esys_GetCapability(t->esys, tpm_session(t, TPMA_SESSION_AUDIT), ESYS_TR_NONE,
					 ESYS_TR_NONE, TPM2_CAP_TPM_PROPERTIES,
					 TPM2_PT_NV_BUFFER_MAX, 1, NULL, &data));
	if (rc != TSS2_RC_SUCCESS)
		return CHUNK_MAX / 2;
	list = &data->data.tpmProperties;
	if (list->count < 1 || list->tpmProperty[0].property != TPM2_PT_NV_BUFFER_MAX ||
	    list->tpmProperty[0].value == 0)
		return CHUNK_MAX / 2;
	return (uint16_t)MIN(list->tpmProperty[0].value, (uint32_t)CHUNK_MAX);
}

int mailbox_open(struct tpm *t, const struct mailbox_lock *lock, struct mailbox *ret,
		 struct error *err)
{
	struct mailbox m = {.tpm = t, .chunk_bytes = chunk_of(t)};
	int r = 0;

	m.auth.size = INDEX_AUTH_BYTES;
	if (RAND_bytes(m.auth.buffer, INDEX_AUTH_BYTES) != 1)
		return error_set(err, -EIO, "no random numbers");
	/* A TPM strips trailing zeros from a password. */
	m.auth.buffer[INDEX_AUTH_BYTES - 1] |= 1;
	r = define_somewhere(lock, &m, err);
	if (r < 0)
		return r;
	*ret = m;
	return 0;
}

int mailbox_write(struct mailbox *m, const uint8_t *data, size_t size, struct error *err)
{
	for (size_t offset = 0; offset < size;) {
		size_t n = MIN(size - offset, (size_t)m->chunk_bytes);
		TPM2B_MAX_NV_BUFFER buffer = {.size = (UINT16)n};
		TSS2_RC rc;

		memcpy(buffer.buffer, data + offset, n);
		rc = tpm_call(Esys_NV_Write(m->tpm->esys, m->handle, m->handle,
					    tpm_session(m->tpm, TPMA_SESSION_DECRYPT), ESYS_TR_NONE,
					    ESYS_TR_NONE, &buffer, (UINT16)offset));
		if (rc != TSS2_RC_SUCCESS)
			return tpm_fail(err, -EIO, rc,
					"cannot hand the attestation request to the TPM");
		offset += n;
	}
	return 0;
}

int mailbox_read(struct mailbox *m, size_t offset, uint8_t *out, size_t *ret_size,
		 struct error *err)
{
	_cleanup_esys_ TPM2B_MAX_NV_BUFFER *data = NULL;
	size_t n = MIN((size_t)MAILBOX_SIZE - offset, (size_t)m->chunk_bytes);
	TSS2_RC rc;

	rc = tpm_call(Esys_NV_Read(m->tpm->esys, m->handle, m->handle,
				   tpm_session(m->tpm, TPMA_SESSION_ENCRYPT), ESYS_TR_NONE,
				   ESYS_TR_NONE, (UINT16)n, (UINT16)offset, &data));
	if (rc != TSS2_RC_SUCCESS)
		return tpm_fail(err, -EIO, rc, "cannot read the TPM's attestation response");
	if (data->size != n)
		return error_set(err, -EIO, "the TPM returned %u bytes of %zu", data->size, n);
	memcpy(out, data->buffer, n);
	*ret_size = n;
	return 0;
}

void mailbox_close(struct mailbox *m)
{
	TSS2_RC rc;

	if (!m->tpm)
		return;
	rc = undefine(m->tpm, m->handle);
	if (rc == TSS2_RC_SUCCESS)
		return;
	/* The connection may have broken in the middle of the exchange. */
	if (TPM_RC_FROM_TPM(rc) || tpm_reopen(m->tpm, NULL) < 0 || !remove_stale(m->tpm, m->index))
		log_debug("the NV index 0x%08x could not be removed", m->index);
}
