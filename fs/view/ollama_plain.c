/*
 * Models without a description. Job: the layers that can be derived from the facts.
 * Trusts ollama_derive.h.
 */
#include "fs/view/ollama_plain.h"

#include "fs/view/ollama_derive.h"

#include <errno.h>
#include <string.h>

/* Takes text. kind: of the layer; NULL: it is the configuration. */
static int add_text(struct ollama_description *d, const char *kind, char *text)
{
	struct ollama_manifest *m = d->manifest;
	struct ollama_layer *layer = kind ? &m->layers[m->layer_count] : &m->config;
	struct ollama_blob *blob = &d->blobs[d->blob_count];
	char type[OLLAMA_TYPE_MAX + 1] = OLLAMA_CONFIG_TYPE;
	int r;

	if (!text)
		return -ENOMEM;
	if (kind)
		(void)snprintf(type, sizeof(type), OLLAMA_IMAGE "%s", kind);
	blob->data = (const uint8_t *)text;
	blob->size = strlen(text);
	d->blob_count++;
	m->layer_count += kind != NULL;
	r = ollama_layer_set(layer, type, text, blob->size);
	memcpy(blob->sha256, layer->sha256, SHA256_SIZE);
	return r;
}

static char *make_params(const char *stops)
{
	char *text;

	return asprintf(&text, "{\"stop\":%s}", stops) < 0 ? NULL : text;
}

static int add_derived(struct ollama_description *d, const char *facts)
{
	const char *template = ollama_derive_template(facts);
	const char *stops = ollama_derive_stops(facts);
	int r = add_text(d, NULL, ollama_derive_config(facts));

	d->manifest->has_config = true;
	if (r == 0 && template)
		r = add_text(d, "template", strdup(template));
	if (r == 0 && stops)
		r = add_text(d, "params", make_params(stops));
	return r;
}

int ollama_plain_make(const char *facts, const uint8_t sha256[SHA256_SIZE], uint64_t size,
		      struct ollama_plain *ret)
{
	struct ollama_description *d = &ret->description;
	struct ollama_layer *model;
	int r;

	d->manifest = calloc(1, sizeof(*d->manifest));
	if (!d->manifest)
		return -ENOMEM;
	model = &d->manifest->layers[0];
	d->manifest->layer_count = 1;
	(void)snprintf(model->type, sizeof(model->type), OLLAMA_IMAGE "model");
	memcpy(model->sha256, sha256, SHA256_SIZE);
	model->size = size;
	r = add_derived(d, facts);
	if (r < 0)
		return r;
	ret->manifest_text = ollama_manifest_make(d->manifest);
	if (!ret->manifest_text)
		return -ENOMEM;
	d->manifest_bytes = (const uint8_t *)ret->manifest_text;
	d->manifest_size = strlen(ret->manifest_text);
	return 0;
}

void ollama_plain_clear(struct ollama_plain *p)
{
	struct ollama_description *d = &p->description;

	for (size_t i = 0; i < d->blob_count; i++)
		free((void *)(uintptr_t)d->blobs[i].data);
	free(d->manifest);
	free(p->manifest_text);
	*p = (struct ollama_plain){0};
}
