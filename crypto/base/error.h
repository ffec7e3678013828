/*
 * error.h: what went wrong: a message for people and a number for programs.
 *
 * Every function that can fail returns 0 or a negative errno and, where it knows more, fills a
 * struct error that its caller owns (often on the stack; NULL is allowed and means "the number is
 * enough"). The innermost function that knows the object sets it; outer ones may add context in
 * front with error_prefix(). The first error wins until error_clear().
 *
 * Numbers with a fixed meaning in this project:
 *   EBADMSG       not authentic: tag, signature, commitment, MAC or hash is wrong
 *   EPROTO        malformed or unsupported input
 *   EKEYREJECTED  refused by attestation or key policy
 *   ENOKEY        none of the available keys opens this object
 *   ESTALE        changed on the server while in use
 *   ETIMEDOUT, EHOSTUNREACH, ECONNREFUSED, ENETUNREACH, ECONNRESET  unreachable
 *   ENODEV, EBUSY no TPM, or it stays busy (counts as unreachable)
 *   EREMOTEIO     a server kept failing or answered nonsense (counts as unreachable)
 *   EINVAL        wrong usage or configuration
 *
 * Threads: a struct error belongs to one thread at a time.
 */
#ifndef SEALEDFS_BASE_ERROR_H
#define SEALEDFS_BASE_ERROR_H

#include "crypto/base/cleanup.h"

#include <errno.h>

#define ERROR_MESSAGE_MAX 1472
#define ERROR_HINT_MAX 512

struct error {
	int code;			 /* negative errno, 0 when no error is set */
	char message[ERROR_MESSAGE_MAX]; /* what happened, to which object */
	char hint[ERROR_HINT_MAX];	 /* what to do about it; may be empty */
};

/* Exit codes of both programs; frozen. */
enum exit_code {
	EXIT_CODE_OK = 0,
	EXIT_CODE_FAILURE = 1,
	EXIT_CODE_USAGE = 2,
	EXIT_CODE_NOT_AUTHENTIC = 3,
	EXIT_CODE_REFUSED = 4,
	EXIT_CODE_UNREACHABLE = 5,
};

/* Never 0: a failure must not look like a success because errno was 0. */
static inline int error_negative(int code)
{
	return code < 0 ? code : -EIO;
}

/* Sets the error unless one is set already. Returns code (negative errno) for `return
 * error_set(…)`. A macro, so that compilers and analyzers see that the result is negative. */
#define error_set(err, code, ...) error_negative(error_fill(err, code, __VA_ARGS__))
int error_fill(struct error *err, int code, const char *fmt, ...) _printf_(3, 4);

/* Sets what the user should do, unless a hint is set already. */
void error_hint(struct error *err, const char *fmt, ...) _printf_(2, 3);

/* Puts "text: " in front of the message of an error that is set. Returns err->code or, without one,
 * code. */
#define error_prefix(err, code, ...) error_negative(error_put_before(err, code, __VA_ARGS__))
int error_put_before(struct error *err, int code, const char *fmt, ...) _printf_(3, 4);

void error_clear(struct error *err);

/* The text of a set error, else strerror(-code). Points into err or static memory. */
const char *error_text(const struct error *err, int code);

/* Maps a negative errno to the exit code of the process. 0 maps to EXIT_CODE_OK. */
enum exit_code error_exit_code(int code);

#endif
