/*
 * Failure classes. One table has the identifier, words and errno of each class, so that messages,
 * tests and JSON cannot differ. Trusts nothing of the object's name: it is
 * escaped before it is printed. Must never be given a secret.
 */
#include "crypto/failure.h"

#include "crypto/name.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define DETAIL_MAX 512

static const struct {
	const char *id;
	const char *words;
	int code;
} classes[SEAL_FAILURE_COUNT] = {
	[SEAL_FAILURE_NONE] = {"none", "", 0},
	[SEAL_MALFORMED] = {"malformed", "malformed", -EPROTO},
	[SEAL_UNSUPPORTED] = {"unsupported", "unsupported", -EPROTO},
	[SEAL_WRONG_NAME] = {"wrong-name", "it is stored under another name", -EBADMSG},
	[SEAL_UNSIGNED] = {"unsigned", "unsigned", -EBADMSG},
	[SEAL_UNKNOWN_SIGNER] = {"unknown-signer", "unknown signer", -EBADMSG},
	[SEAL_BAD_SIGNATURE] = {"bad-signature", "bad signature", -EBADMSG},
	[SEAL_NO_RECIPIENT] = {"no-recipient", "no recipient", -ENOKEY},
	[SEAL_WRONG_KEY] = {"wrong-key", "wrong key", -EBADMSG},
	[SEAL_BAD_SLOTS] = {"bad-slots", "altered slots", -EBADMSG},
	[SEAL_BAD_TABLES] = {"bad-tables", "altered tables", -EBADMSG},
	[SEAL_BAD_VERITY] = {"bad-verity", "verity mismatch", -EBADMSG},
	[SEAL_BAD_PAYLOAD_SIZE] = {"bad-payload-size", "wrong payload size", -EBADMSG},
	[SEAL_BAD_CHUNK] = {"bad-chunk", "altered chunk", -EBADMSG},
	[SEAL_BAD_CHUNK_HASH] = {"bad-chunk-hash", "replaced chunk", -EBADMSG},
	[SEAL_BAD_DIGEST] = {"bad-digest", "wrong digest", -EBADMSG},
	[SEAL_WRONG_MEMBER] = {"wrong-member", "it is not what the set names", -EBADMSG},
	[SEAL_MISSING_MEMBER] = {"missing-member", "a member is missing", -EBADMSG},
	[SEAL_OLD_SET] = {"old-set", "an older set was put back", -EBADMSG},
	[SEAL_EXPIRED_SET] = {"expired-set", "the set has expired", -EKEYEXPIRED},
};

static enum seal_failure known(enum seal_failure failure)
{
	return (unsigned)failure < SEAL_FAILURE_COUNT ? failure : SEAL_FAILURE_NONE;
}

int seal_fail(struct error *err, enum seal_failure failure, const char *object, const char *fmt,
	      ...)
{
	char detail[DETAIL_MAX], printable[NAME_PRINTABLE_SIZE];
	int code = classes[known(failure)].code;
	va_list ap;

	if (!err)
		return code;
	va_start(ap, fmt);
	(void)vsnprintf(detail, sizeof(detail), fmt, ap);
	va_end(ap);
	name_printable(object, printable);
	return error_set(err, code, "\"%s\": %s: %s", printable, classes[known(failure)].words,
			 detail);
}

enum seal_failure seal_failure_of(const struct error *err)
{
	if (!err)
		return SEAL_FAILURE_NONE;
	/* A printed name holds no quote, so the first quote and colon after it end the name. */
	for (const char *p = err->message; (p = strstr(p, "\": ")); p++)
		for (int f = SEAL_FAILURE_NONE + 1; f < SEAL_FAILURE_COUNT; f++) {
			size_t n = strlen(classes[f].words);

			if (strncmp(p + 3, classes[f].words, n) == 0 && p[3 + n] == ':' &&
			    err->code == classes[f].code)
				return (enum seal_failure)f;
		}
	return SEAL_FAILURE_NONE;
}

const char *seal_failure_id(enum seal_failure failure)
{
	return classes[known(failure)].id;
}
