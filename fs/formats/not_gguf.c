/*
 * Guesses. Job: recognise what people have in place of a model. Trusts nothing, and what it returns
 * is for a message only.
 */
#include "fs/formats/not_gguf.h"

#include "crypto/base/cleanup.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

static const struct {
	const char *start;
	size_t size;
	const char *what;
} magics[] = {
#define MAGIC(text) text, sizeof(text) - 1
	{MAGIC("version https://git-lfs"), "is a Git LFS pointer (git lfs pull fetches the file)"},
	{MAGIC("lmgg"), "is a GGML file from before GGUF"},
	{MAGIC("fmgg"), "is a GGML file from before GGUF"},
	{MAGIC("tjgg"), "is a GGML file from before GGUF"},
	{MAGIC("PK\3\4"), "is a ZIP archive, such as PyTorch's"},
	{MAGIC("\x1f\x8b"), "is compressed with gzip"},
	{MAGIC("\x28\xb5\x2f\xfd"), "is compressed with zstd"},
	{MAGIC("\xfd"
	       "7zXZ"),
	 "is compressed with xz"},
	{MAGIC("BZh"), "is compressed with bzip2"},
	{MAGIC("\0\0\0\0\0\0\0\0"), "begins with zeros, such as a download that was not finished"},
};

static bool is_ascii(const char *p)
{
	while (*p > 0)
		p++;
	return *p == '\0';
}

/* White space and a byte order mark may lead. */
static const char *text_kind(const uint8_t *start, size_t size)
{
	char text[NOT_GGUF_START + 1] = "";
	const char *p = text;

	memcpy(text, start, MIN(size, sizeof(text) - 1));
	if (strncmp(p, "\xef\xbb\xbf", 3) == 0)
		p += 3;
	p += strspn(p, " \t\r\n");
	if (strncasecmp(p, "<!doctype html", 14) == 0 || strncasecmp(p, "<html", 5) == 0 ||
	    strncasecmp(p, "<head", 5) == 0)
		return "is an HTML page, such as a server sends in place of a file";
	if (*p == '<')
		return "is an XML document, such as an error message of S3";
	if (*p == '{' || *p == '[')
		return "is JSON, such as an error message of a server";
	return is_ascii(p) ? "is text, such as an error message of a server" : NULL;
}

const char *not_gguf_guess(const uint8_t *start, size_t size)
{
	if (size == 0)
		return "is empty";
	for (size_t i = 0; i < ARRAY_LEN(magics); i++)
		if (size >= magics[i].size && memcmp(start, magics[i].start, magics[i].size) == 0)
			return magics[i].what;
	for (size_t i = 0; i < size; i++)
		if (start[i] < ' ' ? !start[i] || !strchr("\t\r\n", start[i]) : start[i] == 0x7f)
			return NULL;
	return text_kind(start, size);
}
