/*
 * Requests through the mount: read the listing again, take a model into memory, let models leave
 * it. Job: check who asks and what, and pass it on. None of them waits.
 */
#include "fs/fuse/ops_internal.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static_assert((int)MOUNT_RESIDENT == (int)RESIDENT_COMPLETE &&
		      (int)MOUNT_FILLING == (int)RESIDENT_FILLING &&
		      (int)MOUNT_LEAVING == (int)RESIDENT_LEAVING,
	      "the states are those of fs/resident");

/* Users who could send the daemon a signal. */
static bool may_command(fuse_req_t req)
{
	uid_t uid = fuse_req_ctx(req)->uid;

	return uid == 0 || uid == geteuid();
}

static int reload(fuse_req_t req, uint32_t *ret)
{
	const struct ops_reload *reload = atomic_load(&ops_context(req)->reload);

	if (!may_command(req))
		return -EPERM;
	return reload ? reload->begin(reload->arg, ret) : -EAGAIN;
}

static int warm(struct model *m, struct mount_residency *residency)
{
	struct resident *resident = model_resident(m);
	struct resident_look look;

	if (!resident)
		return -EOPNOTSUPP;
	/* Why not is in the report. */
	if (residency->begin == 1)
		(void)resident_want(resident, NULL);
	resident_look(resident, &look);
	*residency = (struct mount_residency){.state = look.state, .bytes = look.bytes};
	return 0;
}

static void evict_one(struct model *m, struct mount_eviction *eviction)
{
	struct resident *resident = model_resident(m);
	struct resident_look look;

	if (!resident)
		return;
	(void)resident_leave(resident);
	resident_look(resident, &look);
	eviction->bytes += look.bytes;
	if (look.attached > 0)
		eviction->in_use++;
	else if (look.state != RESIDENT_NOT)
		eviction->leaving++;
}

static int evict(fuse_req_t req, struct mount_eviction *eviction)
{
	_cleanup_place_ struct catalog_place place = ops_place(req, VIEW_ROOT_INO);
	const struct view *v = generation_view(place.generation);

	if (!may_command(req))
		return -EPERM;
	if (!ops_context(req)->residents)
		return -EOPNOTSUPP;
	*eviction = (struct mount_eviction){.inode = eviction->inode};
	for (size_t i = 0; i < v->file_count; i++)
		if (eviction->inode == 0 || eviction->inode == v->files[i]->ino)
			evict_one(generation_model(place.generation, v->files[i]), eviction);
	return 0;
}

union answer {
	uint32_t number;
	struct mount_residency residency;
	struct mount_eviction eviction;
};

/* *size: of the answer. */
static int handle(fuse_req_t req, fuse_ino_t ino, unsigned command, struct fuse_file_info *fi,
		  union answer *answer, size_t *size)
{
	bool is_root = ino == VIEW_ROOT_INO;

	switch (command) {
	case MOUNT_IOCTL_RELOAD:
		*size = sizeof(answer->number);
		return is_root ? reload(req, &answer->number) : -ENOTTY;
	case MOUNT_IOCTL_EVICT:
		*size = sizeof(answer->eviction);
		return is_root ? evict(req, &answer->eviction) : -ENOTTY;
	case MOUNT_IOCTL_WARM:
		*size = sizeof(answer->residency);
		return !is_root && fi && ops_file_model(ino, fi)
			       ? warm(ops_file_model(ino, fi), &answer->residency)
			       : -ENOTTY;
	default:
		return -ENOTTY;
	}
}

void ops_ioctl(fuse_req_t req, fuse_ino_t ino, ops_command command, void *arg,
	       struct fuse_file_info *fi, unsigned flags, const void *in, size_t in_size,
	       size_t out_size)
{
	union answer answer = {0};
	size_t size = 0;
	int r = -EINVAL;

	if (in_size <= sizeof(answer)) {
		if (in_size > 0)
			memcpy(&answer, in, in_size);
		r = handle(req, ino, (unsigned)command, fi, &answer, &size);
	}
	if (r == 0 && size != out_size)
		r = -EINVAL;
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_ioctl(req, 0, &answer, size);
}
