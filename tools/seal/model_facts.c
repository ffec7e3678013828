/*
 * Facts about a plaintext. Job: determine the kind of file from its bytes, never from its name, and
 * turn its header into facts. Trusts nothing of the plaintext.
 */
#include "tools/seal/model_facts.h"

#include "crypto/base/cleanup.h"
#include "crypto/base/cursor.h"
#include "crypto/base/log.h"
#include "crypto/name.h"
#include "fs/view/ollama_derive.h"

#include <inttypes.h>
#include <string.h>

void model_facts_start(struct model_facts *m, uint64_t length)
{
	*m = (struct model_facts){.length = length};
	gguf_scan_start(&m->gguf, length);
}

void model_facts_feed(struct model_facts *m, const uint8_t *data, size_t size)
{
	size_t n = MIN(size, sizeof(m->start) - m->held);

	memcpy(m->start + m->held, data, n);
	m->held += n;
	(void)gguf_scan_feed(&m->gguf, data, size);
}

/* The length of a JSON header, the header, the tensors: huggingface's safetensors. */
static bool is_safetensors(const struct model_facts *m)
{
	struct cursor c = cursor_init(m->start, m->held);
	uint64_t header = cursor_le64(&c);
	const uint8_t *json = cursor_take(&c, 2);

	return json && json[0] == '{' && header >= 2 && header <= m->length - 8;
}

static void add_number(struct facts *f, int *r, const char *key, uint64_t value)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%" PRIu64, value);
	if (*r == 0)
		*r = facts_add(f, key, text);
}

static void add_text(struct facts *f, int *r, const char *key, const char *value)
{
	if (*r == 0 && value[0] != '\0')
		*r = facts_add(f, key, value);
}

/* In the order of the keys. */
static int add_gguf(const struct gguf_header *h, struct facts *f)
{
	int r = 0;

	add_text(f, &r, FACT_GGUF_ARCHITECTURE, h->architecture);
	add_text(f, &r, FACT_GGUF_BASENAME, h->basename);
	if (h->chat_format)
		add_text(f, &r, FACT_GGUF_CHAT_FORMAT, h->chat_format->name);
	if (h->has_all_pairs || h->has_chat_template)
		add_text(f, &r, FACT_GGUF_CHAT_TEMPLATE, h->has_chat_template ? "yes" : "no");
	if (h->file_type)
		add_text(f, &r, FACT_GGUF_FILE_TYPE, h->file_type);
	else if (h->has_file_type)
		add_number(f, &r, FACT_GGUF_FILE_TYPE, h->file_type_number);
	add_text(f, &r, FACT_GGUF_NAME, h->name);
	if (h->has_all_tensors)
		add_number(f, &r, FACT_GGUF_PARAMETERS, h->parameters);
	add_text(f, &r, FACT_GGUF_SIZE_LABEL, h->size_label);
	if (h->split_count > 1)
		add_number(f, &r, FACT_GGUF_SPLIT_COUNT, h->split_count);
	if (h->has_all_tensors)
		add_text(f, &r, FACT_GGUF_TENSOR_DATA,
			 h->is_truncated ? FACT_DATA_TRUNCATED : FACT_DATA_COMPLETE);
	add_text(f, &r, FACT_GGUF_TYPE, h->type);
	add_number(f, &r, FACT_GGUF_VERSION, h->version);
	return r;
}

int model_facts_make(const struct model_facts *m, struct facts *ret)
{
	const struct gguf_header *h = &m->gguf.header;
	const char *kind = h->version > 0      ? FACT_KIND_GGUF
			   : is_safetensors(m) ? FACT_KIND_SAFETENSORS
					       : FACT_KIND_OTHER;
	int r = 0;

	*ret = (struct facts){0};
	if (h->version > 0)
		r = add_gguf(h, ret);
	return r < 0 ? r : facts_add(ret, FACT_KIND, kind);
}

void model_facts_warn(const struct model_facts *m, const struct facts *facts, const char *name)
{
	const char *fault = ollama_derive_fault(facts->text), *guess = NULL;
	char printable[NAME_PRINTABLE_SIZE];

	if (!fault)
		return;
	if (is_safetensors(m))
		guess = "is a safetensors file";
	else if (!m->gguf.header.is_gguf)
		guess = not_gguf_guess(m->start, m->held);
	else if (m->gguf.header.version == 0)
		fault = "has a GGUF header that is malformed or incomplete";
	name_printable(name, printable);
	log_warning("\"%s\" %s%s%s; the Ollama store will not show it", printable, fault,
		    guess ? ": it " : "", guess ? guess : "");
}
