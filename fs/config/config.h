/*
 * config.h: the user's configuration: command line, options and configuration file, checked.
 * Immutable after config_parse(). command_line.c parses, options.c has the table of options,
 * values.c owns the strings, help.c has the text of --help.
 *
 * Options come from -o lists as mount(8) writes them: commas separate, "\," is a comma inside a
 * value and "\\" a backslash. Unknown options are refused: a mistyped "owner-kay" must not mount
 * without its check.
 */
#ifndef SEALEDFS_CONFIG_CONFIG_H
#define SEALEDFS_CONFIG_CONFIG_H

#include "attest/pcr.h"
#include "crypto/backend.h"
#include "crypto/base/error.h"
#include "fs/formats/ollama_name.h"
#include "fs/read/read.h"

#include <stdbool.h>
#include <sys/types.h>

#define CONFIG_MEMORY_DEFAULT ((size_t)256 << 20)
#define CONFIG_MEMORY_MIN ((size_t)32 << 20)
#define CONFIG_MEMORY_MAX ((size_t)64 << 30)
#define CONFIG_RESIDENT_MIN ((uint64_t)1 << 20)
#define CONFIG_RESIDENT_MAX ((uint64_t)1 << 50)
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
enum config_attest {
	CONFIG_ATTEST_NITROTPM,
	CONFIG_ATTEST_NSM, /* where tcti means a Nitro Secure Module */
	CONFIG_ATTEST_NONE,
};

/* What has been done to the models when the mount is ready; each includes the one before it. */
enum config_ready {
	CONFIG_READY_DEFAULT, /* not after config_parse() */
	CONFIG_READY_OPEN,    /* nothing: models are unlocked when they are opened */
	CONFIG_READY_UNLOCKED,
	CONFIG_READY_MEASURED, /* not with measure=none */
};
/* Whether the mount shows the members of a set (crypto/FORMAT.md section 11) and nothing else. */
enum config_set {
	CONFIG_SET_AUTO,    /* if there is one at the start of the mount */
	CONFIG_SET_REQUIRE, /* or the mount fails; also from measure=set, set-id=, set-min-version=,
			     * oms= */
	CONFIG_SET_OFF,
};
/* The options unlock= and measure-when=, which ready= replaces. */
enum config_old_when { CONFIG_OLD_NONE, CONFIG_OLD_OPEN, CONFIG_OLD_MOUNT };

/* Labels of SELinux: context, fscontext, defcontext, rootcontext. */
#define CONFIG_LABELS 4

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
	bool is_service;      /* --config */
	bool make_mountpoint; /* when it is missing */
	bool debug;	      /* also shows libfuse's own trace */
	bool verbose;	      /* log level: info */

	struct config_list owner_keys; /* PEM files */
	struct config_list keyfiles;
	enum measure_mode measure;
	bool measure_given; /* false: a mount of a set measures the set */
	enum config_set set;
	char *set_id;		  /* 64 hex digits: the only one that is shown; NULL: any */
	char *set_state;	  /* file of the highest versions seen; NULL: none */
	unsigned set_min_version; /* 0: any */
	char *oms, *oms_key;	  /* bundle and key that the set must have; NULL: none */
	bool oms_read;		  /* and each member's bytes its SHA-256 */
	unsigned pcr;
	bool pcr_given;
	bool lock_pcr; /* after measuring; of a Nitro Secure Module only */
	bool allow_foreign_extend;
	char *event_log; /* NULL: the default of attest/pcr.h */
	enum config_ready ready;
	enum config_old_when old_unlock, old_measure; /* used only to decide `ready` */
	struct config_list models;		      /* what `ready` is about; empty: all models */
	bool allow_empty;			      /* mount a source that has no model */
	unsigned wait_s; /* how long to wait at start for unreachable services */
	char *user;	 /* the daemon's user once its files are open; NULL: daemon_user() */
	enum ollama_mode ollama;
	enum config_attest attest;
	char *tcti;	      /* NULL: environment, then the device nodes */
	char *tpm_signatures; /* file of signed policies; NULL: attest/policy_signature.h */

	struct config_list kms_keys;   /* pins: kms_arn.h; sorted, none twice; empty: any key */
	char *kms_policy;	       /* file: explains what KMS refuses; NULL: none */
	struct config_list net;	       /* ways to servers: fs/net/route.h; empty: the network */
	struct config_list allow_http; /* HOST[:PORT]: may be contacted without TLS */
	char *region, *profile, *s3_endpoint, *kms_endpoint; /* NULL: see aws.h */
	bool path_style, anonymous, request_payer;
	size_t memory_bytes;
	enum crypto_choice crypto;
	bool unconfined; /* without confine.h; for looking for faults */
	enum read_fill fill;
	bool resident;		 /* models may be kept in memory as a whole */
	uint64_t resident_bytes; /* all of them; 0: what memory allows */
	char *stage;		 /* folder for copies of ciphertext; NULL: none */
	uint64_t stage_bytes;	 /* 0: see fs/stage/staged.h */

	uid_t uid;
	gid_t gid; /* with allow_other, root and no gid=: of the group sealedfs, if there is one */
	bool gid_given;
	mode_t mode; /* permission bits of files; directories add x where there is r */
	bool allow_other, allow_root;
	char *fsname, *subtype;	     /* NULL: the source, "sealedfs" */
	char *labels[CONFIG_LABELS]; /* NULL: none */
};

/*
 * There are three ways to name what to mount: "sealedfs SOURCE MOUNTPOINT -o …", "sealedfs --config
 * FILE" with the same options as keys (file.h), and "mount.sealedfs SOURCE DIR -o …" as
 * mount(8) calls it. They differ in their defaults: sealedfs.conf(5), mount.sealedfs(8).
 */

/* Fills *c; the caller calls config_clear() also after an error. -EINVAL with message and hint. */
int config_parse(struct config *c, int argc, char **argv, struct error *err);
/* Reads the file as sealedfs --config PATH would, for tools. */
int config_read(struct config *c, const char *path, struct error *err);
/*
 * For a tool that opens models without a mount: its -o arguments, after the file `path` if that is
 * not NULL. source: in place of the file's; NULL only with a file.
 */
int config_for_tool(struct config *c, const char *path, const char *source,
		    const char *const *options, size_t count, struct error *err);
void config_clear(struct config *c);
/* The text of --help. */
void config_print_help(FILE *to);

/* LOG_NOTICE, or more with -v or -d. */
int config_log_level(const struct config *c);
/* The value of the option `name`, which is ready, attest, set or fill, as the user would write it.
 */
const char *config_word(const struct config *c, const char *name);
/* Permission bits of directories for a file mode. */
mode_t config_directory_mode(const struct config *c);

#endif
