/*
 * GGUF headers. Job: parse key-value pairs and tensors, in whatever pieces they arrive, and keep
 * the few facts that are of use. Trusts nothing: every length is compared with what is left of the
 * file, no allocation depends on one, and few characters are allowed in texts, because they go into
 * JSON and into seals. Stops at the first fault, and claims nothing about what would have followed.
 */
#include "fs/formats/gguf_header.h"

#include "crypto/base/cursor.h"
#include "crypto/base/printable.h"
#include "crypto/base/secret.h"

#include <errno.h>
#include <string.h>

#define MAGIC "GGUF"
#define VERSION_MAX 255 /* larger numbers are no version, e.g. 3 with its bytes swapped */
#define START_SIZE 20	/* version, counts of tensors and pairs */
#define RANK_MAX 4	/* ggml's GGML_MAX_DIMS */
#define BLOCK_SIZE 16384
#define ALIGNMENT_DEFAULT 32
#define ALIGNMENT_MAX (UINT32_C(1) << 20)

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
	[0] = "F32",	  [1] = "F16",	    [2] = "Q4_0",	[3] = "Q4_1",	 [7] = "Q8_0",
	[8] = "Q5_0",	  [9] = "Q5_1",	    [10] = "Q2_K",	[11] = "Q3_K_S", [12] = "Q3_K_M",
	[13] = "Q3_K_L",  [14] = "Q4_K_S",  [15] = "Q4_K_M",	[16] = "Q5_K_S", [17] = "Q5_K_M",
	[18] = "Q6_K",	  [19] = "IQ2_XXS", [20] = "IQ2_XS",	[21] = "Q2_K_S", [22] = "IQ3_XS",
	[23] = "IQ3_XXS", [24] = "IQ1_S",   [25] = "IQ4_NL",	[26] = "IQ3_S",	 [27] = "IQ3_M",
	[28] = "IQ2_S",	  [29] = "IQ2_M",   [30] = "IQ4_XS",	[31] = "IQ1_M",	 [32] = "BF16",
	[36] = "TQ1_0",	  [37] = "TQ2_0",   [38] = "MXFP4_MOE", [39] = "NVFP4",	 [40] = "Q1_0",
};

/* ggml's tensor types: elements and bytes of a block. Of other types only the offset is used. */
static const struct {
	uint16_t elements, bytes;
} tensor_types[] = {
	[0] = {1, 4},	   [1] = {1, 2},      [2] = {32, 18},	 [3] = {32, 20},
	[6] = {32, 22},	   [7] = {32, 24},    [8] = {32, 34},	 [9] = {32, 36},
	[10] = {256, 84},  [11] = {256, 110}, [12] = {256, 144}, [13] = {256, 176},
	[14] = {256, 210}, [15] = {256, 292}, [16] = {256, 66},	 [17] = {256, 74},
	[18] = {256, 98},  [19] = {256, 50},  [20] = {32, 18},	 [21] = {256, 110},
	[22] = {256, 82},  [23] = {256, 136}, [24] = {1, 1},	 [25] = {1, 2},
	[26] = {1, 4},	   [27] = {1, 8},     [28] = {1, 8},	 [29] = {256, 56},
	[30] = {1, 2},	   [34] = {256, 54},  [35] = {256, 66},	 [39] = {32, 17},
};

static void expect(struct gguf_scan *s, enum gguf_state state, size_t want)
{
	s->state = state;
	s->want = want;
}

static void stop(struct gguf_scan *s)
{
	expect(s, GGUF_END, 0);
}

/* Ends the scan and returns false if the file is not that long. */
static bool skip(struct gguf_scan *s, uint64_t size)
{
	if (size > s->left) {
		stop(s);
		return false;
	}
	s->skip = size;
	return true;
}

/* The tensors' data follow the header, at the next multiple of the alignment. */
static bool is_truncated(const struct gguf_scan *s)
{
	uint64_t end = s->size - s->left, gap = (s->alignment - end % s->alignment) % s->alignment;

	return s->data_size > 0 && (gap > s->left || s->data_size > s->left - gap);
}

static void next_tensor(struct gguf_scan *s)
{
	if (s->tensors == 0) {
		s->header.has_all_tensors = true;
		s->header.is_truncated = is_truncated(s);
		stop(s);
		return;
	}
	s->tensors--;
	expect(s, GGUF_TENSOR_NAME, 8);
}

static void next_pair(struct gguf_scan *s)
{
	if (s->pairs == 0) {
		s->header.has_all_pairs = true;
		next_tensor(s);
		return;
	}
	s->pairs--;
	expect(s, GGUF_KEY_SIZE, 8);
}

static void take_magic(struct gguf_scan *s, struct cursor *c)
{
	s->header.is_gguf = memcmp(c->data, MAGIC, sizeof(MAGIC) - 1) == 0;
	if (s->header.is_gguf)
		expect(s, GGUF_START, START_SIZE);
	else
		stop(s);
}

static void take_start(struct gguf_scan *s, struct cursor *c)
{
	uint32_t version = cursor_le32(c);

	s->header.version = version <= VERSION_MAX ? version : 0;
	s->tensors = cursor_le64(c);
	s->pairs = cursor_le64(c);
	/* Version 1 had shorter counts; later versions are unknown. */
	if (version == 2 || version == 3)
		next_pair(s);
	else
		stop(s);
}

static void take_key_size(struct gguf_scan *s, struct cursor *c)
{
	uint64_t size = cursor_le64(c);

	s->key[0] = '\0';
	if (size > 0 && size <= GGUF_TEXT_MAX) {
		expect(s, GGUF_KEY, (size_t)size);
		return;
	}
	if (skip(s, size))
		expect(s, GGUF_TYPE, 4);
}

static void take_key(struct gguf_scan *s, struct cursor *c)
{
	size_t size = c->size;

	memcpy(s->key, cursor_take(c, size), size);
	s->key[size] = '\0';
	expect(s, GGUF_TYPE, 4);
}

static void take_type(struct gguf_scan *s, struct cursor *c)
{
	s->type = cursor_le32(c);
	if (s->type == TYPE_STRING)
		expect(s, GGUF_STRING_SIZE, 8);
	else if (s->type == TYPE_ARRAY)
		expect(s, GGUF_ARRAY, 12);
	else if (s->type < TYPE_COUNT)
		expect(s, GGUF_SCALAR, scalar_sizes[s->type]);
	else
		stop(s);
}

static void take_scalar(struct gguf_scan *s, struct cursor *c)
{
	struct gguf_header *h = &s->header;
	uint32_t value;

	if (s->type == TYPE_U16 || s->type == TYPE_U32) {
		value = s->type == TYPE_U32 ? cursor_le32(c) : cursor_le16(c);
		if (strcmp(s->key, "general.alignment") == 0)
			s->alignment = value;
		if (strcmp(s->key, "split.count") == 0)
			h->split_count = value;
		if (strcmp(s->key, "general.file_type") == 0) {
			h->has_file_type = true;
			h->file_type_number = value;
			h->file_type = value < ARRAY_LEN(file_types) ? file_types[value] : NULL;
		}
	}
	/* As in ggml; the limit is ours. */
	if (s->alignment == 0 || s->alignment > ALIGNMENT_MAX ||
	    (s->alignment & (s->alignment - 1)) != 0)
		stop(s);
	else
		next_pair(s);
}

/* Where a string is kept; NULL: it is not. *ret_word: only letters, digits, -, _ and . are allowed.
 */
static char *place_of(struct gguf_scan *s, bool *ret_word)
{
	struct gguf_header *h = &s->header;

	*ret_word = true;
	if (strcmp(s->key, "general.architecture") == 0)
		return h->architecture;
	if (strcmp(s->key, "general.size_label") == 0)
		return h->size_label;
	if (strcmp(s->key, "general.type") == 0)
		return h->type;
	*ret_word = false;
	if (strcmp(s->key, "general.name") == 0)
		return h->name;
	return strcmp(s->key, "general.basename") == 0 ? h->basename : NULL;
}

static void take_string_size(struct gguf_scan *s, struct cursor *c)
{
	uint64_t size = cursor_le64(c);
	bool word;

	if (strcmp(s->key, "tokenizer.chat_template") == 0) {
		s->header.has_chat_template = size > 0 && size <= s->left;
		if (s->header.has_chat_template && size <= CHAT_TEMPLATE_MAX) {
			expect(s, GGUF_TEMPLATE, (size_t)size);
			return;
		}
	}
	if (size > 0 && size <= GGUF_TEXT_MAX && place_of(s, &word)) {
		expect(s, GGUF_STRING, (size_t)size);
		return;
	}
	if (skip(s, size))
		next_pair(s);
}

static void take_string(struct gguf_scan *s, struct cursor *c)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789-_.";
	char text[GGUF_TEXT_MAX + 1] = "";
	size_t size = c->size;
	bool word, good;
	char *place = place_of(s, &word);

	memcpy(text, cursor_take(c, size), size);
	good = word ? strspn(text, allowed) == size
		    : utf8_valid(text, size) && !utf8_has_control(text, size);
	if (place && good)
		memcpy(place, text, sizeof(text));
	wipe(text, sizeof(text));
	next_pair(s);
}

static void take_template(struct gguf_scan *s, struct cursor *c)
{
	char text[CHAT_TEMPLATE_MAX + 1] = "";
	size_t size = c->size;

	memcpy(text, cursor_take(c, size), size);
	s->header.chat_format = chat_format_detect(text);
	wipe(text, sizeof(text));
	next_pair(s);
}

static void take_array(struct gguf_scan *s, struct cursor *c)
{
	uint32_t type = cursor_le32(c);
	uint64_t count = cursor_le64(c), size;

	if (type == TYPE_STRING) {
		s->strings = count;
		expect(s, GGUF_ARRAY_STRING, 8);
		if (count == 0)
			next_pair(s);
		return;
	}
	/* Arrays of arrays: no model has them. */
	if (type >= TYPE_COUNT || !scalar_sizes[type] ||
	    __builtin_mul_overflow(count, (uint64_t)scalar_sizes[type], &size)) {
		stop(s);
		return;
	}
	if (skip(s, size))
		next_pair(s);
}

static void take_array_string(struct gguf_scan *s, struct cursor *c)
{
	uint64_t size = cursor_le64(c);

	if (skip(s, size) && --s->strings == 0)
		next_pair(s);
}

static void take_tensor_name(struct gguf_scan *s, struct cursor *c)
{
	if (skip(s, cursor_le64(c)))
		expect(s, GGUF_TENSOR_RANK, 4);
}

static void take_tensor_rank(struct gguf_scan *s, struct cursor *c)
{
	uint32_t rank = cursor_le32(c);

	if (rank > RANK_MAX)
		stop(s);
	else
		expect(s, GGUF_TENSOR, rank * 8 + 12); /* then type and offset */
}

static void take_tensor(struct gguf_scan *s, struct cursor *c)
{
	uint64_t elements = 1, end = 0, offset;
	uint32_t type;
	bool wrong = false;

	for (size_t i = 12; i < c->size; i += 8)
		wrong |= __builtin_mul_overflow(elements, cursor_le64(c), &elements);
	wrong |= __builtin_add_overflow(s->header.parameters, elements, &s->header.parameters);
	type = cursor_le32(c);
	if (type < ARRAY_LEN(tensor_types) && tensor_types[type].elements)
		wrong |= __builtin_mul_overflow(elements / tensor_types[type].elements,
						(uint64_t)tensor_types[type].bytes, &end);
	offset = cursor_le64(c);
	wrong |= __builtin_add_overflow(end, offset, &end);
	s->data_size = MAX(s->data_size, end);
	if (wrong || (s->on_tensor && s->on_tensor(s->on_tensor_arg, offset) < 0))
		stop(s);
	else
		next_tensor(s);
}

static void (*const takers[GGUF_END])(struct gguf_scan *s, struct cursor *c) = {
	[GGUF_MAGIC] = take_magic,
	[GGUF_START] = take_start,
	[GGUF_KEY_SIZE] = take_key_size,
	[GGUF_KEY] = take_key,
	[GGUF_TYPE] = take_type,
	[GGUF_SCALAR] = take_scalar,
	[GGUF_STRING_SIZE] = take_string_size,
	[GGUF_STRING] = take_string,
	[GGUF_TEMPLATE] = take_template,
	[GGUF_ARRAY] = take_array,
	[GGUF_ARRAY_STRING] = take_array_string,
	[GGUF_TENSOR_NAME] = take_tensor_name,
	[GGUF_TENSOR_RANK] = take_tensor_rank,
	[GGUF_TENSOR] = take_tensor,
};

void gguf_scan_start(struct gguf_scan *scan, uint64_t file_size)
{
	*scan = (struct gguf_scan){
		.size = file_size, .left = file_size, .alignment = ALIGNMENT_DEFAULT};
	expect(scan, GGUF_MAGIC, sizeof(MAGIC) - 1);
}

bool gguf_scan_feed(struct gguf_scan *s, const uint8_t *data, size_t size)
{
	while (s->state != GGUF_END && size > 0) {
		size_t n = (size_t)MIN((uint64_t)size, s->skip ? s->skip : s->want - s->held);
		struct cursor c;

		if (!s->skip)
			memcpy(s->hold + s->held, data, n);
		data += n;
		size -= n;
		s->left -= MIN((uint64_t)n, s->left);
		if (s->skip) {
			s->skip -= n;
			continue;
		}
		s->held += n;
		if (s->held < s->want)
			continue;
		c = cursor_init(s->hold, s->want);
		s->held = 0;
		takers[s->state](s, &c);
	}
	return s->state != GGUF_END;
}

uint64_t gguf_scan_skip(struct gguf_scan *s)
{
	s->left -= s->skip;
	s->skip = 0;
	return s->size - s->left;
}

int gguf_scan_read(struct gguf_scan *s, gguf_read *read, void *arg, uint64_t limit)
{
	_cleanup_free_ uint8_t *block = malloc(BLOCK_SIZE);
	uint64_t end = MIN(s->size, limit);
	bool more = s->state != GGUF_END;

	if (!block)
		return -ENOMEM;
	while (more) {
		uint64_t at = gguf_scan_skip(s);
		size_t size = (size_t)MIN(end - MIN(at, end), (uint64_t)BLOCK_SIZE);
		int r = size > 0 ? read(arg, at, block, size) : 0;

		if (size == 0 || r < 0)
			return r;
		more = gguf_scan_feed(s, block, size);
	}
	return 0;
}
