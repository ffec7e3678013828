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
 * Names and things are apart: a directory's entries point to nodes, and a file may have several
 * entries (a model's own path, and its blob in the Ollama store) but is one node, one inode, and so
 * one page cache.
 *
 * view_read() makes the plain tree; who adds to it (ollama_store.h) does so before view_number().
 */
#ifndef SEALEDFS_VIEW_H
#define SEALEDFS_VIEW_H

#include "crypto/seal.h"
#include "fs/source/source.h"

#include <stdbool.h>

#define VIEW_ROOT_INO 1
/* Numbers up to here are not a model's; ops_control.c uses some. */
#define VIEW_RESERVED_INOS 15
/* Not a model's either: the control directory in the root of the mount. */
#define VIEW_CONTROL_NAME ".sealedfs"
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
};

struct view_entry {
	char *name;
	struct view_node *node;
	bool is_link; /* a further name of a file that has its own place elsewhere */
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
	size_t child_count, subdirectory_count;

	unsigned link_count; /* entries of a VIEW_FILE or VIEW_BYTES */
	uint8_t *bytes;	     /* VIEW_BYTES: size of them; facts.sha256 is their digest */

	/* VIEW_FILE. */
	size_t file_index;	   /* in struct view */
	struct source_object seal; /* name and version to read it by */
	struct view_facts facts;   /* zero when the head is unreadable */
	struct error *broken;	   /* NULL: nothing found wrong so far */
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
	char **notes; /* what is hidden and why, for the log */
	size_t note_count;
};

struct view_options {
	struct source *source;
	const struct owner_keys *owners; /* NULL or empty: none pinned */
};

/*
 * Lists the source and reads the heads, several at once. Fails only when the source does (not
 * there, unreachable); the caller frees *ret. Inode numbers are still missing: view_number().
 */
int view_read(const struct view_options *options, struct view **ret, struct error *err);
int view_number(struct view *v);
void view_free(struct view *v);

/* NULL: no such entry. */
const struct view_node *view_lookup(const struct view_node *dir, const char *name);
const struct view_node *view_by_ino(const struct view *v, uint64_t ino);

/* The first half of view_read(), for its tests: names only. */
int view_build(const struct source_listing *listing, struct view **ret, struct error *err);

DEFINE_CLEANUP(struct view *, view_free)

#endif
