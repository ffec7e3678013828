/*
 * config.h: the command line of sealedfs, taken apart and checked. Immutable after
 * config_parse().
 *
 * Options come from -o lists as mount(8) writes them: commas separate, "\," is a comma inside a
 * value and "\\" a backslash. Unknown options are refused: a mistyped "owner-kay" must not mount
 * without its check.
 */
#ifndef SEALEDFS_CONFIG_H
#define SEALEDFS_CONFIG_H

#include "attest/pcr.h"
#include "crypto/backend.h"
#include "crypto/base/error.h"
#include "fs/read/read.h"
#include "fs/view/ollama_store.h"

#include <stdbool.h>
#include <sys/types.h>

#define CONFIG_MEMORY_DEFAULT ((size_t)256 << 20)
#define CONFIG_MEMORY_MIN ((size_t)32 << 20)
#define CONFIG_MEMORY_MAX ((size_t)64 << 30)
#define CONFIG_STAGE_MIN ((uint64_t)1 << 20)
#define CONFIG_STAGE_MAX ((uint64_t)1 << 50)

#define CONFIG_WAIT_FILE_S 600	/* with --config */
#define CONFIG_WAIT_HELPER_S 60 /* as mount.sealedfs: below systemd's 90 s for a mount unit */
#define CONFIG_WAIT_MAX_S 86400

enum config_action {
	CONFIG_MOUNT,
	CONFIG_HELP,
	CONFIG_VERSION,
	CONFIG_NOTHING, /* mount -f: everything but the mount */
	CONFIG_UNMOUNT, /* take a dead mount away from mountpoint */
	CONFIG_RELOAD,	/* make the daemon of mountpoint read its listing again */
};
enum config_attest { CONFIG_ATTEST_NITROTPM, CONFIG_ATTEST_NONE };

struct config_list {
	char **items;
	size_t count;
};

struct config {
	enum config_action action;
	char *source;	  /* directory or s3://bucket/prefix, as given */
	char *mountpoint; /* as given */
	bool foreground;
	bool is_helper;	      /* called as mount.sealedfs by mount(8) */
	bool make_mountpoint; /* when it is missing */
	bool debug;	      /* also shows libfuse's own trace */
	bool verbose;	      /* log level: info */

	struct config_list owner_keys; /* PEM files */
	struct config_list keyfiles;
	enum measure_mode measure;
	unsigned pcr;
	bool allow_foreign_extend;
	char *event_log; /* NULL: the default of attest/pcr.h */
	bool unlock_at_mount;
	bool measure_at_mount;	   /* implies unlock_at_mount */
	struct config_list models; /* what to unlock at mount; empty: all */
	unsigned wait_s;	   /* at start, for what is not reachable yet */
	char *user; /* who the daemon is once it has its files; NULL: see daemon_user() */
	enum ollama_mode ollama;
	enum config_attest attest;
	char *tcti; /* NULL: environment, then the device nodes */

	char *region, *profile, *s3_endpoint, *kms_endpoint; /* NULL: see aws.h */
	bool path_style;
	size_t memory_bytes;
	enum crypto_choice crypto;
	enum read_fill fill;
	char *stage;	      /* folder for copies of ciphertext; NULL: none */
	uint64_t stage_bytes; /* 0: see fs/source/staged.h */

	uid_t uid;
	gid_t gid;
	mode_t mode; /* permission bits of files; directories add x where there is r */
	bool allow_other, allow_root;
	char *fsname, *subtype;	   /* NULL: the source, "sealedfs" */
	struct config_list kernel; /* options for the kernel's mount: noexec, noatime, … */
};

/*
 * There are three ways to say what to mount: "sealedfs SOURCE MOUNTPOINT -o …", "sealedfs --config
 * FILE" with the same options as keys (config_file.h), and "mount.sealedfs SOURCE DIR -o …" as
 * mount(8) calls it. They differ in their defaults: sealedfs.conf(5), mount.sealedfs(8).
 */

/* Fills *c; the caller calls config_clear() also after an error. -EINVAL with message and hint. */
int config_parse(struct config *c, int argc, char **argv, struct error *err);
void config_clear(struct config *c);
/* The text of --help. */
void config_print_help(FILE *to);

/* LOG_NOTICE, or more with -v or -d. */
int config_log_level(const struct config *c);
/* Permission bits of directories for a file mode. */
mode_t config_directory_mode(const struct config *c);

#endif
