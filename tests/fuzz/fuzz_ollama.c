/*
 * Fuzz target: Ollama descriptions (fs/view/OLLAMA.md). Besides not crashing: what is taken has a
 * valid name, describes the model that it was asked for, and made again from its parts it is the
 * same bytes: there is one encoding. Any bytes taken as a path give a valid name.
 */
#include "fs/formats/ollama_description.h"

#include <errno.h>
#include <string.h>

#define MODEL_AT 32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void promise(bool kept)
{
	if (!kept)
		abort();
}

static void check_path_name(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *path = strndup((const char *)data, size);
	struct ollama_name name, again;
	char full[OLLAMA_NAME_MAX + 1];

	promise(path && ollama_name_of_path(path, size % 2, &name) == 0);
	ollama_name_full(&name, full);
	promise(!ollama_name_parse(full, &again) && ollama_name_compare(&name, &again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(ollama_description_freep) struct ollama_description *d = NULL;
	_cleanup_free_ uint8_t *again = NULL;
	uint8_t model[SHA256_SIZE] = {0}, *copy = malloc(size + 1);
	struct error err = {0};
	size_t again_size = 0;
	int r;

	promise(copy != NULL);
	memcpy(copy, data, size);
	if (size >= MODEL_AT + sizeof(model))
		memcpy(model, data + MODEL_AT, sizeof(model));
	check_path_name(data, size);
	r = ollama_description_parse(copy, size, model, &d, &err);
	promise((r == 0) == (d != NULL) && err.code == r && (r == 0 || r == -EPROTO));
	if (!d)
		return 0;
	promise(memcmp(d->manifest->layers[d->manifest->model].sha256, model, sizeof(model)) == 0);
	promise(ollama_description_make(d, &again, &again_size, &err) == 0);
	promise(again_size == size && memcmp(again, data, size) == 0);
	return 0;
}
