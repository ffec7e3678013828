/*
 * failure.h: the classes of crypto/FORMAT.md section 9, and the one way to report them.
 *
 * A message reads `"OBJECT": WORDS: detail`, for example
 *   "prod/m.gguf.seal": altered slots: the slot MAC does not fit the core and the slots
 * The object's name is printed safely (name.h), so it cannot forge the part that follows.
 */
#ifndef SEALEDFS_FAILURE_H
#define SEALEDFS_FAILURE_H

#include "crypto/base/error.h"

enum seal_failure {
	SEAL_FAILURE_NONE = 0,
	SEAL_MALFORMED,
	SEAL_UNSUPPORTED,
	SEAL_WRONG_NAME,
	SEAL_UNSIGNED,
	SEAL_UNKNOWN_SIGNER,
	SEAL_BAD_SIGNATURE,
	SEAL_NO_RECIPIENT,
	SEAL_WRONG_KEY,
	SEAL_BAD_SLOTS,
	SEAL_BAD_TABLES,
	SEAL_BAD_VERITY,
	SEAL_BAD_PAYLOAD_SIZE,
	SEAL_BAD_CHUNK,
	SEAL_BAD_CHUNK_HASH,
	SEAL_BAD_DIGEST,
	SEAL_WRONG_MEMBER,
	SEAL_MISSING_MEMBER,
	SEAL_OLD_SET,
	SEAL_EXPIRED_SET,
	SEAL_FAILURE_COUNT,
};

/* Sets err (unless it is set already) and returns the class's negative errno. */
int seal_fail(struct error *err, enum seal_failure failure, const char *object, const char *fmt,
	      ...) _printf_(4, 5);
/* The class of an error that seal_fail() made, also behind error_prefix(); else
 * SEAL_FAILURE_NONE. */
enum seal_failure seal_failure_of(const struct error *err);
/* The identifier of FORMAT.md: "malformed", "bad-slots", …; "none". Static. */
const char *seal_failure_id(enum seal_failure failure);

#endif
