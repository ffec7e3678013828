/*
 * oms_check.h: an OMS bundle (fs/formats/oms.h) and a set.
 */
#ifndef SEALEDFS_OMS_CHECK_H
#define SEALEDFS_OMS_CHECK_H

#include "crypto/base/allowance.h"
#include "crypto/set.h"
#include "fs/formats/oms.h"
#include "fs/oms/oms_key.h"

#define OMS_UNCHECKED_SIZE 512

/* What is said about a bundle that was accepted. Text from the bundle: print it safely. */
struct oms_summary {
	char key[OMS_HINT_SIZE];	    /* the key whose signature was checked */
	char name[256];			    /* of the model, as the bundle has it */
	char unchecked[OMS_UNCHECKED_SIZE]; /* what else it holds and nothing checked; "": nothing
					     */
	uint8_t sha256[SHA256_SIZE];	    /* of the bundle */
	size_t files;
	size_t ignored;			       /* members that it leaves out */
	char first_ignored[SEAL_PATH_MAX + 1]; /* "": none */
};

/*
 * Reads the bundle at path, checks its signature by the key, and then what it states. a: where the
 * memory for it is taken from, and given back to before the return but for the statement's. The
 * caller calls oms_statement_free(). -EBADMSG: not signed by this key; -EPROTO: no OMS bundle, or
 * one of a kind that a set cannot answer; -EFBIG; -ENOBUFS; the open(2) errors.
 */
int oms_read(const char *path, const struct oms_key *key, struct allowance *a,
	     struct oms_statement **ret, struct oms_summary *summary, struct error *err);

/* One call for each difference; code is -EBADMSG. */
typedef void oms_finding(void *arg, const char *path, int code, const struct error *err);

/* Each file of the statement must be a member with this SHA-256, and each member must be named or
 * ignored, or be the bundle itself, which authors put beside the files. `path` is the bundle's, for
 * messages. Fills summary->ignored. Returns the number of differences. */
size_t oms_compare(const struct oms_statement *s, const struct set *set, const char *path,
		   struct oms_summary *summary, oms_finding *finding, void *arg);

/* oms_read() and oms_compare(): 0, or the first difference and how many more there are. */
int oms_check_set(const char *path, const struct oms_key *key, const struct set *set,
		  struct allowance *a, struct oms_summary *ret, struct error *err);

/* What a statement about the mount of this set must have: files in order; what a reader of the
 * mount does not see, or the specification leaves out, is ignored. *ret points into set. */
int oms_describe_set(const struct set *set, struct oms_statement **ret, struct error *err);

#endif
