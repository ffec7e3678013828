/*
 * check_object.h: fsck of one sealed object, in the order of crypto/FORMAT.md section 8.
 */
#ifndef SEALEDFS_TOOLS_CHECK_OBJECT_H
#define SEALEDFS_TOOLS_CHECK_OBJECT_H

#include "fs/source/source.h"
#include "fs/unlock/unlock.h"

struct check_options {
	const struct owner_keys *owners; /* NULL or empty: signatures are not checked */
	struct unlock *unlock;		 /* NULL: nothing that needs the key is checked */
	bool quiet;			 /* no progress line */
	const char *found_name;		 /* of the seal, for seal_check_name() */
};

enum check_result { CHECK_PASSED, CHECK_FAILED, CHECK_SKIPPED };

#define CHECK_STEPS_MAX 8
#define CHECK_DETAIL_MAX ERROR_MESSAGE_MAX

struct check_report {
	struct check_step {
		const char *name; /* "structure", "name", "signature", "payload", "key", "tables",
				     "chunks", "digests" */
		enum check_result result;
		const char *failure; /* class of crypto/failure.h; "none" */
		char detail[CHECK_DETAIL_MAX];
	} steps[CHECK_STEPS_MAX];
	unsigned count;
	char *payload_name; /* NULL: not known */
	int code;	    /* of the first failure; 0: none */
	struct error error; /* of the first failure */
};

/*
 * Fills *ret whatever it finds; the caller clears it. Negative only when the check could not
 * continue (interrupted, no memory).
 */
int check_object(struct source *source, const char *seal_name, const struct check_options *options,
		 struct check_report *ret, struct error *err);
/* The report of an object that no mount shows because of its name. */
void check_report_refuse(struct check_report *ret, const char *label, const char *why);
void check_report_clear(struct check_report *r);

#endif
