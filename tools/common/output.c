/*
 * Printing of results. Job: the same facts as text or JSON. Trusts no name. Must never print a
 * secret, and must not let a full disk behind standard output pass as success.
 */
#include "tools/common/output.h"

#include "crypto/base/encode.h"
#include "crypto/base/json.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

int output_json(json_t *value)
{
	int r = -ENOMEM;

	if (value)
		r = json_print(value, stdout);
	json_decref(value);
	return r;
}

/* Not every C library knows these names. */
#define NAME(code) [code] = #code
/* clang-format off */
static const char *const names[] = {
	NAME(E2BIG), NAME(EACCES), NAME(EADDRINUSE), NAME(EAGAIN),
	NAME(EALREADY), NAME(EBADF), NAME(EBADMSG), NAME(EBUSY),
	NAME(ECANCELED), NAME(ECHILD), NAME(ECONNABORTED), NAME(ECONNREFUSED),
	NAME(ECONNRESET), NAME(EDQUOT), NAME(EEXIST), NAME(EFAULT),
	NAME(EFBIG), NAME(EHOSTUNREACH), NAME(EILSEQ), NAME(EINTR),
	NAME(EINVAL), NAME(EIO), NAME(EISDIR), NAME(EKEYEXPIRED),
	NAME(EKEYREJECTED), NAME(EKEYREVOKED), NAME(ELOOP), NAME(EMFILE),
	NAME(EMLINK), NAME(EMSGSIZE), NAME(ENAMETOOLONG), NAME(ENETDOWN),
	NAME(ENETUNREACH), NAME(ENFILE), NAME(ENOBUFS), NAME(ENODATA),
	NAME(ENODEV), NAME(ENOENT), NAME(ENOEXEC), NAME(ENOKEY),
	NAME(ENOLCK), NAME(ENOMEM), NAME(ENOSPC), NAME(ENOSYS),
	NAME(ENOTBLK), NAME(ENOTCONN), NAME(ENOTDIR), NAME(ENOTEMPTY),
	NAME(ENOTTY), NAME(ENXIO), NAME(EOPNOTSUPP), NAME(EOVERFLOW),
	NAME(EPERM), NAME(EPIPE), NAME(EPROTO), NAME(ERANGE),
	NAME(EREMOTEIO), NAME(EROFS), NAME(ESPIPE), NAME(ESRCH),
	NAME(ESTALE), NAME(ETIMEDOUT), NAME(ETXTBSY), NAME(EXDEV),
};
/* clang-format on */
#undef NAME

static const char *error_name(int code)
{
	size_t number = code < 0 ? -(size_t)code : (size_t)code;

	return number < ARRAY_LEN(names) && names[number] ? names[number] : "UNKNOWN";
}

json_t *output_error_json(const struct error *err, int code)
{
	return json_pack("{s:s, s:o, s:o, s:i}", "code", error_name(code), "message",
			 output_text(error_text(err, code)), "hint",
			 output_text(err ? err->hint : ""), "exit_code",
			 (int)error_exit_code(code));
}

void output_json_error(const struct error *err, int code)
{
	(void)output_json(json_pack("{s:o}", "error", output_error_json(err, code)));
}

int output_finish(struct error *err)
{
	if (fflush(stdout) < 0)
		return error_set(err, -EIO, "cannot write to standard output: %s", strerror(errno));
	/* What failed then failed earlier, and errno is another call's. */
	return ferror(stdout) ? error_set(err, -EIO, "cannot write to standard output") : 0;
}

void output_append(json_t **list, json_t *value)
{
	if (*list && value && json_array_append_new(*list, value) == 0)
		return;
	if (!*list)
		json_decref(value);
	json_decref(*list);
	*list = NULL;
}

json_t *output_text(const char *text)
{
	return json_outside_text(text);
}

json_t *output_hex_json(const void *data, size_t size)
{
	_cleanup_free_ char *text = malloc(2 * size + 1);

	if (!text)
		return NULL;
	hex_encode(data, size, text);
	return json_string(text);
}

const char *output_hex(const void *data, size_t size, char *out)
{
	hex_encode(data, MIN(size, (size_t)OUTPUT_HEX_MAX), out);
	return out;
}

const char *output_time_ms(int64_t ms, char out[OUTPUT_TIME_SIZE])
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;
	size_t n;

	if (ms < 0 || !gmtime_r(&seconds, &tm) || tm.tm_year > 9999 - 1900)
		return "?";
	n = strftime(out, OUTPUT_TIME_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(out + n, OUTPUT_TIME_SIZE - n, ms % 1000 ? ".%03dZ" : "Z", (int)(ms % 1000));
	return out;
}

const char *output_amount(double bytes, char out[OUTPUT_AMOUNT_SIZE])
{
	static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB"};
	size_t u = 0;

	while (bytes >= 999.5 && u + 1 < ARRAY_LEN(units)) {
		bytes /= 1000;
		u++;
	}
	(void)snprintf(out, OUTPUT_AMOUNT_SIZE, u > 0 && bytes < 9.95 ? "%.1f %s" : "%.0f %s",
		       bytes, u == 0 && bytes == 1 ? "byte" : units[u]);
	return out;
}
