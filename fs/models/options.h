/*
 * options.h: how the models of a mount are opened, what opening one measured, and what the kernel
 * is told about them.
 */
#ifndef SEALEDFS_MODELS_OPTIONS_H
#define SEALEDFS_MODELS_OPTIONS_H

#include "attest/pcr.h"
#include "fs/models/measured.h"
#include "fs/models/mounted_set.h"
#include "fs/read/read.h"
#include "fs/resident/resident.h"
#include "fs/unlock/unlock.h"
#include "fs/view/view.h"

/* What unlocking put into the PCR. */
struct measurement {
	bool done; /* false: measure=none, or not unlocked */
	enum measure_mode mode;
	unsigned pcr;
	bool earlier; /* since boot, by an earlier open */
	char event[MEASURE_TEXT_MAX];
};

/* How to tell the kernel about files of the mount. Any of them may be NULL: there is no mount. */
struct kernel_ops {
	/* Makes the kernel drop its pages of a file from offset on. May wait for reads that are
	 * under way. */
	void (*forget_pages)(void *arg, uint64_t ino, uint64_t offset);
	/* Gives the kernel pages of a file; errors as read_store. */
	int (*store_pages)(void *arg, uint64_t ino, uint64_t offset, const uint8_t *data,
			   size_t size);
	/* Looks a file up through the mount, by its path in it, so that the kernel knows it. */
	int (*introduce)(void *arg, const char *path);
	void *arg;
};

/* Everything is borrowed and must outlive the models. */
struct models_options {
	struct source *source;
	const struct view *view;
	struct mounted_set *set;	 /* whose members they are; NULL: no set */
	const struct owner_keys *owners; /* may be empty */
	struct unlock *unlock;
	struct read_engine *engine;
	enum measure_mode measure;
	bool read_whole; /* the plaintext must have the SHA-256 that its seal states */
	struct measure_options measure_options;
	struct measured *measured; /* filled in by the catalog */
	struct kernel_ops kernel;
	struct residents *residents; /* NULL: none */
	struct pool *openers;	     /* where models are unlocked */
	void *owner;		     /* models_owner() */
};

#endif
