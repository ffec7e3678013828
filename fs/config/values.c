/*
 * The values of a struct config. Job: own its strings, and answer what follows from single fields.
 */
#include "fs/config/options_internal.h"
#include "fs/net/route.h"

#include "crypto/base/encode.h"
#include "crypto/base/log.h"

#include <errno.h>
#include <string.h>

int config_set_string(char **field, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

int config_list_add(struct config_list *list, const char *value)
{
	char **items = reallocarray(list->items, list->count + 1, sizeof(*items));

	if (!items)
		return -ENOMEM;
	list->items = items;
	items[list->count] = strdup(value);
	if (!items[list->count])
		return -ENOMEM;
	list->count++;
	return 0;
}

int config_size(const char *value, uint64_t min, uint64_t max, uint64_t *ret)
{
	uint64_t v;

	if (size_parse(value, "KMGT", max, &v) < 0 || v < min)
		return -EINVAL;
	*ret = v;
	return 0;
}

int config_parse_stage_size(struct config *c, const char *value, struct error *err)
{
	if (config_size(value, CONFIG_STAGE_MIN, CONFIG_STAGE_MAX, &c->stage_bytes) == 0)
		return 0;
	return error_set(err, -EINVAL,
			 "option stage-size=%s: must be a size from 1M to 1024T, as in 500G",
			 value);
}

int config_parse_resident(struct config *c, const char *value, struct error *err)
{
	c->resident = strcmp(value, "off") != 0;
	c->resident_bytes = 0;
	if (!c->resident || strcmp(value, "auto") == 0 ||
	    config_size(value, CONFIG_RESIDENT_MIN, CONFIG_RESIDENT_MAX, &c->resident_bytes) == 0)
		return 0;
	return error_set(err, -EINVAL,
			 "option resident=%s: must be off, auto or a size from 1M to 1024T, as in "
			 "40G",
			 value);
}

int config_check_resident(const struct config *c, struct error *err)
{
	if (!c->resident || c->fill != READ_FILL_ALL)
		return 0;
	return error_set(err, -EINVAL,
			 "options resident and fill=all: both keep whole models in memory; use one "
			 "of them");
}

static void list_clear(struct config_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
}

void config_clear(struct config *c)
{
	list_clear(&c->owner_keys);
	list_clear(&c->keyfiles);
	list_clear(&c->kms_keys);
	list_clear(&c->net);
	list_clear(&c->allow_http);
	list_clear(&c->models);
	free(c->source);
	free(c->mountpoint);
	free(c->user);
	free(c->event_log);
	free(c->kms_policy);
	free(c->set_id);
	free(c->set_state);
	free(c->oms);
	free(c->oms_key);
	free(c->tcti);
	free(c->tpm_signatures);
	free(c->region);
	free(c->profile);
	free(c->s3_endpoint);
	free(c->kms_endpoint);
	for (size_t i = 0; i < CONFIG_LABELS; i++)
		free(c->labels[i]);
	free(c->stage);
	free(c->fsname);
	free(c->subtype);
	*c = (struct config){0};
}

int config_log_level(const struct config *c)
{
	if (c->debug)
		return LOG_DEBUG;
	return c->verbose ? LOG_INFO : LOG_NOTICE;
}

mode_t config_directory_mode(const struct config *c)
{
	return c->mode | (c->mode & 0444) >> 2;
}

int config_add_net(struct config *c, const char *value, struct error *err)
{
	struct route route;
	int r = route_parse(value, &route, err);

	return r < 0 ? r : config_list_add(&c->net, value);
}
