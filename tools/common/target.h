/*
 * target.h: operands that name a sealed object ("dir/m.gguf.seal", "s3://bucket/p/m.gguf.seal") or
 * a whole source ("dir", "s3://bucket/p/").
 */
#ifndef SEALEDFS_TOOLS_TARGET_H
#define SEALEDFS_TOOLS_TARGET_H

#include "crypto/seal.h"
#include "fs/source/source.h"
#include "tools/common/cli.h"

struct target {
	struct source *source;
	char *name;	     /* of one object in the source; NULL: all of it */
	const char *operand; /* name is set: as the user gave it, borrowed */
};

/* The error of a local file that could not be opened; what looks like a URL is -EINVAL. Returns the
 * code. */
int target_cannot_read(const char *path, int code, struct error *err);

/* An operand that ends in ".seal" and is no directory is one object. */
int target_open(struct cli *cli, const char *operand, struct target *ret, struct error *err);
/* The same for any one object, whatever its name. */
int target_open_object(struct cli *cli, const char *operand, struct target *ret, struct error *err);
/* Payloads that seals refer to; {0}: none. */
struct used_payloads {
	char **names;
	size_t count;
	bool sorted;
};
/* Takes name. -ENOMEM. */
int used_payloads_add(struct used_payloads *u, char *name);
bool used_payloads_has(struct used_payloads *u, const char *name);
void used_payloads_clear(struct used_payloads *u);

/* Reads and parses the start of a seal object, as it was listed or found by source_stat(). label:
 * for messages. */
int target_read_head(struct source *source, const struct source_object *object, const char *label,
		     struct seal **ret, struct error *err);
void target_clear(struct target *t);
/*
 * The name under which an object of the target was found, for seal_check_name(): of one object all
 * that the user named, so that DIR/70b/m.gguf.seal is not taken for DIR/7b/m.gguf.seal. Points into
 * name or the operand.
 */
const char *target_found_name(const struct target *t, const char *name);
/* The part of an operand that can be compared with a sealed path. Points into it. */
const char *target_operand_name(const char *operand);

#define _cleanup_target_ _cleanup_(target_clear)

#endif
