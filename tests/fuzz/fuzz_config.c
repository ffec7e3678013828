/*
 * Fuzz target: what says how to mount. The first byte chooses: text of a configuration file, or a
 * list after -o. Besides not crashing: what is not understood is refused with a message and
 * -EINVAL, and no string that was taken is empty or larger than its source.
 */
#include "fs/config/file.h"
#include "fs/config/options_internal.h"

#include <errno.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void promise(bool kept)
{
	if (!kept)
		abort();
}

static void check_list(const struct config_list *list, size_t size)
{
	for (size_t i = 0; i < list->count; i++)
		promise(list->items[i][0] != '\0' && strlen(list->items[i]) <= size);
}

static void check_config(const struct config *c, size_t size)
{
	check_list(&c->owner_keys, size);
	check_list(&c->keyfiles, size);
	check_list(&c->models, size);
	promise(!c->stage || (*c->stage != '\0' && strlen(c->stage) <= size));
	promise(c->mode <= 0777 && c->wait_s <= CONFIG_WAIT_MAX_S);
	promise(c->memory_bytes == 0 ||
		(c->memory_bytes >= CONFIG_MEMORY_MIN && c->memory_bytes <= CONFIG_MEMORY_MAX));
	promise(c->stage_bytes == 0 ||
		(c->stage_bytes >= CONFIG_STAGE_MIN && c->stage_bytes <= CONFIG_STAGE_MAX));
	promise(c->pcr < PCR_COUNT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(config_clear) struct config c = {0};
	_cleanup_free_ char *text = NULL;
	struct error err = {0};
	int r;

	if (size == 0)
		return 0;
	text = strndup((const char *)data + 1, size - 1);
	promise(text != NULL);
	if (data[0] % 2)
		r = config_file_parse("fuzz.conf", text, config_apply_key, &c, &err);
	else
		r = config_apply_options(&c, text, &err);
	promise((r == 0 || r == -EINVAL) && err.code == r);
	promise(r == 0 || err.message[0] != '\0');
	check_config(&c, size);
	return 0;
}
