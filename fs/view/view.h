/*
 * view.h: what the mount shows: a tree of directories and plaintext files made from a source's
 * listing. Built once at mount, immutable afterwards; needs no lock.
 *
 * Each "PATH.seal" becomes the file PATH; payloads and anything else are invisible. Sizes come
 * from the seals' heads, times from the seal objects. A seal that is malformed, badly signed, under
 * a wrong name or without its payload stays visible, marked broken: opening it gives the reason.
 * Nothing here is authentic yet, except where an owner key is pinned; model.h checks everything
 * again when a file is opened.
 *
 * Names and nodes are separate: a directory's entries point to nodes, and a file may have several
 * entries (a model's own path, and its blob in the Ollama store) but is one node, one inode, and so
 * one page cache.
 *
 * Of a set (crypto/FORMAT.md section 11) the tree has all members and nothing else, made of the set
 * alone. Then `seal` has the name of the seal, but neither version nor size, and times are the
 * set's.
 *
 * view_read() makes the plain tree; ollama_store.h adds to it before view_number().
 */
#ifndef SEALEDFS_VIEW_H
#define SEALEDFS_VIEW_H

#include "crypto/name.h"
#include "crypto/set.h"
#include "fs/source/source.h"

#include <stdbool.h>

#define VIEW_ROOT_INO 1
/* Numbers up to here are not a model's; fs/fuse/control.c uses some. */
#define VIEW_RESERVED_INOS 15
/* Not a model's either: the control directory in the root of the mount. */
#define VIEW_CONTROL_NAME NAME_RESERVED
#define VIEW_DEPTH_MAX 64

enum view_kind {
	VIEW_DIRECTORY,
	VIEW_FILE,  /* a sealed model */
	VIEW_BYTES, /* a small file with its content in memory */
};

/* Taken from a seal's core. */
struct view_facts {
	uint8_t file_id[SEAL_FILE_ID_SIZE];
	uint8_t sha256[SHA256_SIZE];
	uint8_t verity[32];
	/* SHA-256 of the whole core, of a set's member the beginning of its SHA-384: identifies the
	 * sealing. */
	uint8_t core[SHA256_SIZE];
};

struct view_entry {
	char *name;	 /* the node's own, unless it is a link */
	uint64_t cookie; /* derived from the name: where readdir(3) continues after this entry */
	struct view_node *node;
	bool is_link; /* a further name of a file that has its own place elsewhere */
};

/* Why a file is broken: a struct error, without its unused bytes. */
struct view_fault {
	int code;
	const char *hint; /* in text, behind the message; may be empty */
	char text[];
};

struct view_node {
	enum view_kind kind;
	uint64_t ino;  /* stable over remounts; another version of a model has another one */
	uint64_t size; /* bytes of plaintext; 0 for directories and when the head is unreadable */
	int64_t mtime_ns;
	char *path;		  /* from the root, without leading '/'; "" for the root */
	const char *name;	  /* last part of path */
	struct view_node *parent; /* the root's is itself */

	/* Directories. */
	struct view_entry *children; /* bytewise order by name */
	uint32_t *listing;	     /* their indices in ascending order of cookies */
	size_t child_count, subdirectory_count;

	unsigned link_count; /* entries of a VIEW_FILE or VIEW_BYTES */
	uint8_t *bytes;	     /* VIEW_BYTES: size of them; facts.sha256 is their digest */

	/* VIEW_FILE. */
	size_t file_index;	   /* in struct view */
	struct source_object seal; /* name and version to read it by */
	struct view_facts facts;   /* zero when the head is unreadable */
	char *stated;		   /* the facts that its seal states (crypto/facts.h); NULL: none */
	char *recipients;	   /* slots_text() of its seal; NULL: not read */
	const struct set_member *member; /* the set's; NULL: there is no set */
	struct view_fault *broken;	 /* NULL: nothing found wrong so far */
	bool doubtful; /* it could not be opened the last time, or failed its check */
	/* Whose it is: owner_keys_owner(), always 0 where no owner is pinned; -1: not known. */
	int owner;
	/* "NAME.ollama" beside this NAME (OLLAMA.md): in no directory and not in `files`. */
	struct view_node *description;
};

struct view {
	struct view_node *root;
	struct view_node **files; /* in path order, parts compared bytewise */
	size_t file_count, directory_count;
	uint64_t total_size;
	struct view_node **by_ino; /* all nodes, ascending */
	size_t node_count;
	char **notes; /* hidden and omitted entries, with reasons, for the log and the report */
	size_t note_count, more_notes;
	size_t hidden_count;	     /* seals of the source that are not shown */
	bool clashes;		     /* some because a model and a directory have one name */
	struct allowance *allowance; /* what memory is taken from; NULL: no limit */
	atomic_size_t taken;
};

struct view_options {
	struct source *source;
	const struct owner_keys *owners; /* NULL or empty: none pinned */
	struct allowance *allowance;	 /* NULL: no limit; else it must outlive the view */
	size_t file_bytes;		 /* that the caller will keep for each file */
	/* NULL: all models of the source; else with its table, and it must outlive the view. */
	const struct set *set;
	/* NULL: all models; else only the one of this path, without a listing. It may lack a
	 * payload: nobody looks before it is opened. Not looked at with a set. */
	const char *only;
	bool set_facts; /* of a set, reads the seals of what may be a GGUF for the facts in them */
};

/*
 * Lists the source and reads the heads, several at once. Fails only when the source does (not
 * there, unreachable), or with -ENOBUFS when the allowance does not suffice; the caller frees *ret.
 * Inode numbers are still missing: view_number().
 */
int view_read(const struct view_options *options, struct view **ret, struct error *err);
int view_number(struct view *v);

/* The seal of a set's member, where it is now. Free it with view_member_seal_free(). */
struct view_member_seal {
	struct source_object object;
	struct seal *seal;
	size_t head_size;
	uint8_t head[SEAL_HEAD_MAX];
};
/*
 * Finds and reads it, and checks that it is the one that the set names. Two to four requests.
 * -EBADMSG: there is none (missing-member), or another one (wrong-member).
 */
int view_find_member(struct source *source, const struct set *set, const struct set_member *m,
		     struct view_member_seal **ret, struct error *err);
void view_member_seal_free(struct view_member_seal *s);
void view_free(struct view *v);

/*
 * The entry of a directory with the lowest cookie above this one; NULL: none. Cookies are from
 * VIEW_COOKIE_MIN to INT64_MAX and depend on the names only, so that a listing of a
 * directory that changes meanwhile has each entry that stays exactly once.
 */
#define VIEW_COOKIE_MIN 16
const struct view_entry *view_next(const struct view_node *dir, uint64_t cookie);
/* Called by view_number(): gives cookies to all entries. */
int view_order(struct view *v);

/* NULL: no such entry. */
const struct view_node *view_lookup(const struct view_node *dir, const char *name);
const struct view_node *view_by_ino(const struct view *v, uint64_t ino);

/* n->broken as an error; code 0: it is not. */
struct error view_fault_of(const struct view_node *n);

/* The order of struct view's `files`: a directory's entries are together, and a file comes before a
 * directory of the same name. */
int view_compare_paths(const char *a, const char *b);

/* The first half of view_read(), for its tests: names only. */
int view_build(const struct source_listing *listing, struct view **ret, struct error *err);

DEFINE_CLEANUP(struct view *, view_free)
DEFINE_CLEANUP(struct view_member_seal *, view_member_seal_free)

#endif
