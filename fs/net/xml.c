/*
 * XML. Job: walk over an answer without building a tree. Trusts expat's parser and nothing in the
 * document. Must never expand an entity or load anything from outside.
 */
#include "fs/net/xml.h"

#include "crypto/base/secret.h"

#include <errno.h>
#include <expat.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

#define XML_PATH_MAX 512

struct walk {
	XML_Parser parser;
	xml_element_fn element;
	void *arg;
	int result;
	char path[XML_PATH_MAX];
	size_t path_size;
	unsigned depth;
	char text[XML_TEXT_MAX];
	size_t text_size;
};

/* Its text may have been a key. */
static inline void walk_freep(struct walk **w)
{
	if (*w)
		wipe(*w, sizeof(**w));
	free(*w);
}

static inline void parser_freep(XML_Parser *p)
{
	if (*p)
		XML_ParserFree(*p);
}

static void stop(struct walk *w, int code)
{
	w->result = code;
	(void)XML_StopParser(w->parser, XML_FALSE);
}

static void XMLCALL on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
	struct walk *w = arg;
	size_t size = strlen(name), slash = w->path_size > 0;

	(void)attributes;
	if (w->depth == XML_DEPTH_MAX || size + slash >= XML_PATH_MAX - w->path_size ||
	    strchr(name, '/')) {
		stop(w, -EPROTO);
		return;
	}
	if (slash)
		w->path[w->path_size++] = '/';
	memcpy(w->path + w->path_size, name, size + 1);
	w->path_size += size;
	w->depth++;
	w->text_size = 0;
}

static void XMLCALL on_end(void *arg, const XML_Char *name)
{
	struct walk *w = arg;
	size_t size = strlen(name);
	int r;

	/* Handlers may still run once after a stop. */
	if (w->result < 0)
		return;
	w->text[w->text_size] = '\0';
	r = w->element(w->arg, w->path, w->text);
	if (r < 0) {
		stop(w, r);
		return;
	}
	w->path_size -= size;
	if (w->path_size > 0)
		w->path_size--;
	w->path[w->path_size] = '\0';
	w->depth--;
	w->text_size = 0;
}

static void XMLCALL on_text(void *arg, const XML_Char *s, int len)
{
	struct walk *w = arg;
	size_t size = (size_t)len;

	if (w->result < 0)
		return;
	if (size >= XML_TEXT_MAX - w->text_size) {
		stop(w, -EPROTO);
		return;
	}
	memcpy(w->text + w->text_size, s, size);
	w->text_size += size;
}

static void XMLCALL on_doctype(void *arg, const XML_Char *name, const XML_Char *system_id,
			       const XML_Char *public_id, int has_internal_subset)
{
	(void)name;
	(void)system_id;
	(void)public_id;
	(void)has_internal_subset;
	stop(arg, -EPROTO);
}

int xml_parse(const void *data, size_t size, xml_element_fn element, void *arg)
{
	_cleanup_(parser_freep) XML_Parser parser = XML_ParserCreate("UTF-8");
	_cleanup_(walk_freep) struct walk *w = calloc(1, sizeof(*w));
	const char *p = data;

	if (!parser || !w)
		return -ENOMEM;
	/* S3 sends white space while a long operation runs; XML wants its declaration first. */
	while (size > 0 && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) {
		p++;
		size--;
	}
	if (size == 0 || size > INT_MAX)
		return -EPROTO;
	w->parser = parser;
	w->element = element;
	w->arg = arg;
	XML_SetUserData(parser, w);
	XML_SetElementHandler(parser, on_start, on_end);
	XML_SetCharacterDataHandler(parser, on_text);
	XML_SetStartDoctypeDeclHandler(parser, on_doctype);
	if (XML_Parse(parser, p, (int)size, XML_TRUE) != XML_STATUS_OK)
		return w->result < 0 ? w->result : -EPROTO;
	return w->result;
}
