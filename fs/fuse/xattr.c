/*
 * Extended attributes. Job: show a model's identity (plaintext SHA-256, fs-verity digest, file id)
 * without reading it. The values are those of the seal: authentic from the start if an owner key is
 * pinned, otherwise after the model has been opened. A broken model has none.
 */
#include "crypto/base/encode.h"
#include "fs/fuse/ops_internal.h"

#include <errno.h>
#include <string.h>

#define VALUE_SIZE 64 /* hex digits; all three are 32 bytes */

static const struct {
	const char *name;
	size_t offset;
} attributes[] = {
	{"user.sealedfs.sha256", offsetof(struct view_facts, sha256)},
	{"user.sealedfs.verity", offsetof(struct view_facts, verity)},
	{"user.sealedfs.file-id", offsetof(struct view_facts, file_id)},
};

static bool has_attributes(const struct view_node *n)
{
	return n->kind == VIEW_FILE && !n->broken;
}

/* size 0: return the size that is needed. */
static void reply_sized(fuse_req_t req, const char *data, size_t data_size, size_t size)
{
	if (size == 0)
		fuse_reply_xattr(req, data_size);
	else if (size < data_size)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, data, data_size);
}

/* The outcome of reloads; it also shows that this is a sealedfs mount (mount_root.h). Not listed,
 * so that it is not copied. */
static void reply_mount_attribute(fuse_req_t req, size_t size)
{
	const struct ops_reload *r = atomic_load(&ops_context(req)->reload);
	char value[MOUNT_ATTRIBUTE_MAX];
	struct error err = {0};
	uint32_t count = r ? r->look(r->arg, &err) : 0;

	if (err.code == 0)
		(void)snprintf(value, sizeof(value), "%u ok", count);
	else
		(void)snprintf(value, sizeof(value), "%u failed %s%s%s", count, err.message,
			       err.hint[0] ? "; " : "", err.hint);
	reply_sized(req, value, strlen(value), size);
}

void ops_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	_cleanup_place_ struct catalog_place place = ops_place(req, ino);
	const struct view_node *n = place.node;
	char text[VALUE_SIZE + 1];

	if (!n) {
		fuse_reply_err(req, control_has_ino(ino) ? ENODATA : ESTALE);
		return;
	}
	for (size_t i = 0; has_attributes(n) && i < ARRAY_LEN(attributes); i++) {
		if (strcmp(name, attributes[i].name) != 0)
			continue;
		hex_encode((const uint8_t *)&n->facts + attributes[i].offset, VALUE_SIZE / 2, text);
		reply_sized(req, text, VALUE_SIZE, size);
		return;
	}
	if (n->ino == VIEW_ROOT_INO && strcmp(name, MOUNT_ATTRIBUTE) == 0)
		reply_mount_attribute(req, size);
	else
		fuse_reply_err(req, ENODATA);
}

void ops_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	_cleanup_place_ struct catalog_place place = ops_place(req, ino);
	const struct view_node *n = place.node;
	char list[256];
	size_t used = 0;

	if (!n && !control_has_ino(ino)) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	for (size_t i = 0; n && has_attributes(n) && i < ARRAY_LEN(attributes); i++) {
		size_t n_size = strlen(attributes[i].name) + 1;

		memcpy(list + used, attributes[i].name, n_size);
		used += n_size;
	}
	reply_sized(req, list, used, size);
}
