/*
 * From the configuration to the options of the kernel's mount. Job: the same mount, whether our
 * keeper makes it or libfuse. Must never leave out ro, nosuid, nodev and noexec.
 */
#include "fs/fuse/mount_options.h"

#include "crypto/base/printable.h"
#include "fs/source/source.h"

#include <assert.h>
#include <errno.h>
#include <fuse_opt.h>
#include <stdlib.h>
#include <string.h>

static int add_named(char **options, const char *name, const char *value)
{
	_cleanup_free_ char *text = NULL;

	if (asprintf(&text, "%s=%s", name, value) < 0)
		return -ENOMEM;
	return fuse_opt_add_opt_escaped(options, text) < 0 ? -ENOMEM : 0;
}

/* A relative path would mean nothing in /proc/mounts, which the kernel prints as it is. */
static char *shown_source(const struct config *c)
{
	_cleanup_free_ char *absolute = NULL;
	const char *text = c->fsname ? c->fsname : c->source;
	char *shown;

	if (!c->fsname && !source_spec_is_s3(c->source))
		absolute = realpath(c->source, NULL);
	text = absolute ? absolute : text;
	shown = malloc(PRINTABLE_GROWTH * strlen(text) + 1);
	if (shown)
		printable_text(text, strlen(text), shown);
	return shown;
}

int mount_options(const struct config *c, char **ret)
{
	_cleanup_free_ char *source = shown_source(c);
	int r = source ? fuse_opt_add_opt(ret, "ro,nosuid,nodev,noexec,noatime,default_permissions")
		       : -1;

	if (r == 0)
		r = add_named(ret, "fsname", source);
	if (r == 0)
		r = add_named(ret, "subtype", c->subtype ? c->subtype : "sealedfs");
	static_assert(KEEPER_LABELS == CONFIG_LABELS, "both have the same four labels");
	for (size_t i = 0; r == 0 && i < KEEPER_LABELS; i++)
		if (c->labels[i])
			r = add_named(ret, keeper_label_names[i], c->labels[i]);
	if (r == 0 && c->allow_other)
		r = fuse_opt_add_opt(ret, "allow_other");
	if (r == 0 && c->allow_root)
		r = fuse_opt_add_opt(ret, "allow_root");
	return r < 0 ? -ENOMEM : 0;
}

int mount_plan(const struct config *config, struct keeper_mount *ret)
{
	*ret = (struct keeper_mount){
		.path = config->mountpoint,
		.make_directory = config->make_mountpoint,
		.subtype = config->subtype ? config->subtype : "sealedfs",
		.allow_other = config->allow_other || config->allow_root,
		.unconfined = config->unconfined,
	};
	for (size_t i = 0; i < KEEPER_LABELS; i++)
		ret->labels[i] = config->labels[i];
	ret->source = shown_source(config);
	return ret->source ? 0 : -ENOMEM;
}
