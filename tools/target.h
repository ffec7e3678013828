/*
 * target.h: operands that name a sealed object ("dir/m.gguf.seal", "s3://bucket/p/m.gguf.seal") or
 * a whole source ("dir", "s3://bucket/p/").
 */
#ifndef SEALEDFS_TOOLS_TARGET_H
#define SEALEDFS_TOOLS_TARGET_H

#include "fs/source/source.h"
#include "tools/cli.h"

struct target {
	struct source *source;
	char *name; /* of one object in the source; NULL: all of it */
};

/* An operand that ends in ".seal" and is no directory is one object. */
int target_open(struct cli *cli, const char *operand, struct target *ret, struct error *err);
/* The same for any one object, whatever its name. */
int target_open_object(struct cli *cli, const char *operand, struct target *ret, struct error *err);
void target_clear(struct target *t);

#define _cleanup_target_ _cleanup_(target_clear)

#endif
