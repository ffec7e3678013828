/*
 * GGUF headers (ggml's docs/gguf.md, versions 2 and 3). Job: walk over the key-value pairs and pick
 * out four. Trusts nothing: every length is held against what is left of the file, nothing is
 * allocated by it, and what a word may contain is narrow, because it goes into JSON.
 */
#include "tools/gguf_header.h"

#include "crypto/base/cursor.h"
#include "crypto/base/fileio.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define MAGIC "GGUF"
#define VERSION_MIN 2
#define KEYS_MAX 65536
#define KEY_SIZE_MAX 64 /* longer ones are not ours */

enum type {
	TYPE_U16 = 2,
	TYPE_U32 = 4,
	TYPE_STRING = 8,
	TYPE_ARRAY = 9,
	TYPE_COUNT = 13,
};

/* Bytes of a scalar; 0: none. */
static const uint8_t scalar_sizes[TYPE_COUNT] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

/* llama.cpp's LLAMA_FTYPE, as Ollama writes them. */
static const char *const file_types[] = {
	[0] = "F32",	  [1] = "F16",	    [2] = "Q4_0",    [3] = "Q4_1",    [7] = "Q8_0",
	[8] = "Q5_0",	  [9] = "Q5_1",	    [10] = "Q2_K",   [11] = "Q3_K_S", [12] = "Q3_K_M",
	[13] = "Q3_K_L",  [14] = "Q4_K_S",  [15] = "Q4_K_M", [16] = "Q5_K_S", [17] = "Q5_K_M",
	[18] = "Q6_K",	  [19] = "IQ2_XXS", [20] = "IQ2_XS", [21] = "Q2_K_S", [22] = "IQ3_XS",
	[23] = "IQ3_XXS", [24] = "IQ1_S",   [25] = "IQ4_NL", [26] = "IQ3_S",  [27] = "IQ3_M",
	[28] = "IQ2_S",	  [29] = "IQ2_M",   [30] = "IQ4_XS", [31] = "IQ1_M",  [32] = "BF16",
};

struct reader {
	int fd;
	uint64_t at, size; /* in the file: next byte, its length */
	uint64_t start;	   /* of what is in buf */
	size_t filled;
	uint8_t buf[65536];
};

/* The next n bytes, at most as many as fit into buf; NULL: there are not so many. */
static const uint8_t *take(struct reader *r, size_t n)
{
	const uint8_t *found;

	if (n > r->size - r->at)
		return NULL;
	if (r->at < r->start || r->at + n > r->start + r->filled) {
		ssize_t got = file_read_at(r->fd, r->buf, sizeof(r->buf), r->at);

		r->start = r->at;
		r->filled = got > 0 ? (size_t)got : 0;
		if (r->filled < n)
			return NULL;
	}
	found = r->buf + (r->at - r->start);
	r->at += n;
	return found;
}

static bool skip(struct reader *r, uint64_t n)
{
	if (n > r->size - r->at)
		return false;
	r->at += n;
	return true;
}

static bool take_number(struct reader *r, size_t bytes, uint64_t *ret)
{
	const uint8_t *p = take(r, bytes);
	struct cursor c = cursor_init(p, p ? bytes : 0);

	*ret = bytes == 8 ? cursor_le64(&c) : bytes == 4 ? cursor_le32(&c) : cursor_le16(&c);
	return p != NULL;
}

/* Copies a string that fits and skips one that does not; out is "" then. */
static bool take_string(struct reader *r, char *out, size_t max)
{
	uint64_t size;
	const uint8_t *p;

	out[0] = '\0';
	if (!take_number(r, 8, &size))
		return false;
	if (size > max)
		return skip(r, size);
	p = take(r, (size_t)size);
	if (!p)
		return false;
	memcpy(out, p, (size_t)size);
	out[size] = '\0';
	return true;
}

static bool skip_array(struct reader *r)
{
	uint64_t type, count, bytes;
	char nothing[1];

	if (!take_number(r, 4, &type) || !take_number(r, 8, &count) || type >= TYPE_COUNT)
		return false;
	if (scalar_sizes[type])
		return !__builtin_mul_overflow(count, (uint64_t)scalar_sizes[type], &bytes) &&
		       skip(r, bytes);
	/* Each string takes eight bytes at least, so this ends with the file. Arrays of arrays: no
	 * model has them. */
	for (uint64_t i = 0; type == TYPE_STRING && i < count; i++)
		if (!take_string(r, nothing, 0))
			return false;
	return type == TYPE_STRING;
}

static void keep_word(const char *text, char out[GGUF_WORD_MAX + 1])
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789-_.";

	if (strspn(text, allowed) == strlen(text))
		(void)snprintf(out, GGUF_WORD_MAX + 1, "%s", text);
}

static bool take_pair(struct reader *r, struct gguf_header *ret)
{
	char key[KEY_SIZE_MAX + 1], text[GGUF_WORD_MAX + 1];
	uint64_t type, value;

	if (!take_string(r, key, KEY_SIZE_MAX) || !take_number(r, 4, &type) || type >= TYPE_COUNT)
		return false;
	if (type == TYPE_ARRAY)
		return skip_array(r);
	if (type == TYPE_STRING) {
		if (!take_string(r, text, GGUF_WORD_MAX))
			return false;
		if (strcmp(key, "general.architecture") == 0)
			keep_word(text, ret->architecture);
		else if (strcmp(key, "general.size_label") == 0)
			keep_word(text, ret->size_label);
		return true;
	}
	if (type != TYPE_U16 && type != TYPE_U32)
		return skip(r, scalar_sizes[type]);
	if (!take_number(r, scalar_sizes[type], &value))
		return false;
	if (strcmp(key, "split.count") == 0)
		ret->split_count = (unsigned)value;
	else if (strcmp(key, "general.file_type") == 0 && value < ARRAY_LEN(file_types))
		ret->file_type = file_types[value];
	return true;
}

static void read_header(struct reader *r, struct gguf_header *ret)
{
	const uint8_t *magic = take(r, sizeof(MAGIC) - 1);
	uint64_t version, tensors, pairs;

	ret->is_gguf = magic && memcmp(magic, MAGIC, sizeof(MAGIC) - 1) == 0;
	if (!ret->is_gguf || !take_number(r, 4, &version) || version < VERSION_MIN ||
	    !take_number(r, 8, &tensors) || !take_number(r, 8, &pairs) || pairs > KEYS_MAX)
		return;
	while (pairs > 0 && take_pair(r, ret))
		pairs--;
}

int gguf_header_read(const char *path, struct gguf_header *ret, struct error *err)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ struct reader *r = NULL;
	struct stat st;

	*ret = (struct gguf_header){0};
	/* Not even opened unless it is a file: that would wake the writer of a pipe for nothing. */
	if (strcmp(path, "-") == 0 || (stat(path, &st) == 0 && !S_ISREG(st.st_mode)))
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_set(err, -errno, "cannot read %s: %s", path, strerror(errno));
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->fd = fd;
	r->size = (uint64_t)st.st_size;
	ret->readable = true;
	read_header(r, ret);
	return 0;
}
