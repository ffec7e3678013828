/*
 * gguf_header.h: the one parser of GGUF headers (ggml's docs/gguf.md, versions 2 and 3, little
 * endian): what the header states about the model, and where its tensors begin. Takes the file's
 * bytes in pieces of any size, as they are sealed; gguf_scan_read() reads only what is needed.
 *
 * Every number is untrusted and bounded before it is used. No I/O of its own; a struct
 * gguf_scan belongs to one thread and needs no clean-up.
 */
#ifndef SEALEDFS_FORMATS_GGUF_HEADER_H
#define SEALEDFS_FORMATS_GGUF_HEADER_H

#include "fs/formats/chat_format.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GGUF_TEXT_MAX 64 /* bytes */

struct gguf_header {
	bool is_gguf; /* by its magic; the rest is what came before the first fault */
	bool has_all_pairs;
	bool has_all_tensors;
	uint32_t version;		      /* 0: missing or not plausible */
	unsigned split_count;		      /* files of a split model; 0 and 1: not split */
	char architecture[GGUF_TEXT_MAX + 1]; /* "llama"; letters, digits, -, _ and . only; or "" */
	char size_label[GGUF_TEXT_MAX + 1];   /* "7B"; likewise */
	char type[GGUF_TEXT_MAX + 1];	      /* "model", "adapter"; likewise */
	char name[GGUF_TEXT_MAX + 1];	      /* UTF-8 without control characters; or "" */
	char basename[GGUF_TEXT_MAX + 1];     /* likewise */
	bool has_file_type;
	uint32_t file_type_number; /* llama.cpp's LLAMA_FTYPE */
	const char *file_type;	   /* "Q4_K_M"; NULL: unknown. Static */
	bool has_chat_template;
	const struct chat_format *chat_format; /* NULL: not a simple template */
	uint64_t parameters;		       /* elements of all tensors */
	bool is_truncated; /* with has_all_tensors: the file ends before a tensor's data does */
};

enum gguf_state {
	GGUF_MAGIC,
	GGUF_START,
	GGUF_KEY_SIZE,
	GGUF_KEY,
	GGUF_TYPE,
	GGUF_SCALAR,
	GGUF_STRING_SIZE,
	GGUF_STRING,
	GGUF_TEMPLATE,
	GGUF_ARRAY,
	GGUF_ARRAY_STRING,
	GGUF_TENSOR_NAME,
	GGUF_TENSOR_RANK,
	GGUF_TENSOR,
	GGUF_END,
};

/* A tensor's offset from the start of the data. Negative: stop, as at a fault. */
typedef int gguf_on_tensor(void *arg, uint64_t offset);

struct gguf_scan {
	struct gguf_header header;
	gguf_on_tensor *on_tensor; /* NULL, or set after gguf_scan_start() */
	void *on_tensor_arg;
	enum gguf_state state;
	uint64_t size;			  /* bytes of the file */
	uint64_t left;			  /* bytes not yet taken */
	uint64_t skip;			  /* of these, the next ones are not needed */
	uint64_t pairs, tensors, strings; /* that are still to come */
	uint64_t data_size;		  /* from the first tensor's place to the end of the last */
	uint32_t alignment;		  /* of the first tensor's place; a power of two */
	size_t want;			  /* bytes of the next item */
	uint32_t type;			  /* of the value */
	char key[GGUF_TEXT_MAX + 1];
	size_t held;
	uint8_t hold[CHAT_TEMPLATE_MAX]; /* the start of an item that is not complete yet */
};

/* file_size: bytes of the whole file. */
void gguf_scan_start(struct gguf_scan *scan, uint64_t file_size);
/* The file's next bytes. False: the header's end (or the first fault) was reached, no more are
 * needed.
 */
bool gguf_scan_feed(struct gguf_scan *scan, const uint8_t *data, size_t size);
/* The offset of the next byte that is needed. Bytes before it need not be fed any more. */
uint64_t gguf_scan_skip(struct gguf_scan *scan);

/* Fills buf with bytes offset … offset + size - 1 of the file, which exist. 0 or negative errno. */
typedef int gguf_read(void *arg, uint64_t offset, uint8_t *buf, size_t size);
/* Feeds the scan from `read` until it needs no more, or limit bytes of the file have been passed.
 * 0, -ENOMEM, or an error of read. */
int gguf_scan_read(struct gguf_scan *scan, gguf_read *read, void *arg, uint64_t limit);

#endif
