/*
 * Error objects. Trusts nothing but its callers' format strings; truncates rather than
 * allocates, so that reporting an error cannot itself fail. Must never be given a secret.
 */
#include "crypto/base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

int error_fill(struct error *err, int code, const char *fmt, ...)
{
	va_list ap;

	code = error_negative(code);
	if (!err || err->code)
		return code;
	err->code = code;
	va_start(ap, fmt);
	(void)vsnprintf(err->message, sizeof(err->message), fmt, ap);
	va_end(ap);
	return code;
}

void error_hint(struct error *err, const char *fmt, ...)
{
	va_list ap;

	if (!err || err->hint[0])
		return;
	va_start(ap, fmt);
	(void)vsnprintf(err->hint, sizeof(err->hint), fmt, ap);
	va_end(ap);
}

int error_put_before(struct error *err, int code, const char *fmt, ...)
{
	char text[ERROR_MESSAGE_MAX], old[ERROR_MESSAGE_MAX];
	va_list ap;

	code = error_negative(code);
	if (!err)
		return code;
	if (!err->code)
		err->code = code;
	memcpy(old, err->message[0] ? err->message : strerror(-code),
	       err->message[0] ? sizeof(old) : strlen(strerror(-code)) + 1);
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (snprintf(err->message, sizeof(err->message), "%s: %s", text, old) < 0)
		err->message[0] = '\0';
	return err->code;
}

void error_clear(struct error *err)
{
	if (err)
		*err = (struct error){0};
}

const char *error_text(const struct error *err, int code)
{
	if (err && err->message[0])
		return err->message;
	return strerror(code < 0 ? -code : code);
}

enum exit_code error_exit_code(int code)
{
	switch (-code) {
	case 0:
		return EXIT_CODE_OK;
	case EINVAL:
		return EXIT_CODE_USAGE;
	case EBADMSG:
	case EPROTO:
	case ESTALE:
		return EXIT_CODE_NOT_AUTHENTIC;
	case EKEYREJECTED:
	case ENOKEY:
	case EKEYREVOKED:
	case EKEYEXPIRED:
		return EXIT_CODE_REFUSED;
	case ETIMEDOUT:
	case EHOSTUNREACH:
	case ENETUNREACH:
	case ECONNREFUSED:
	case ECONNRESET:
	case ECONNABORTED:
	case EREMOTEIO:
	case EAGAIN:
	case ENODEV:
	case EBUSY:
		return EXIT_CODE_UNREACHABLE;
	default:
		return EXIT_CODE_FAILURE;
	}
}
