/*
 * Replacing an object. Job: tell what happened when a PUT fails. Trusts the server's versions. Must
 * never write over what another writer wrote.
 */
#include "tools/set/replace.h"

#include "tools/common/interrupt.h"

#include <errno.h>
#include <string.h>

/* Did our PUT take effect although it failed? */
static bool is_stored(struct source *source, const struct source_object *o, const uint8_t *bytes,
		      size_t size)
{
	_cleanup_free_ uint8_t *found = bytes && o->size == size ? malloc(size + 1) : NULL;

	return found && source_read(source, o->name, o->version, 0, size, found, NULL) == 0 &&
	       memcmp(found, bytes, size) == 0;
}

static int no_conditions(const struct source *source, const char *name, struct error *err)
{
	_cleanup_free_ char *label = source_describe(source, name);

	error_set(err, -EOPNOTSUPP,
		  "%s has not changed, but the server refuses to replace it: it does not know "
		  "If-Match",
		  label ? label : name);
	error_hint(err, "use a directory, or a server that has conditional writes");
	return -EOPNOTSUPP;
}

int replace_object(struct source *source, const char *name, const char *version,
		   const uint8_t *bytes, size_t size, struct error *err)
{
	_cleanup_(source_object_clear) struct source_object now = {0};
	struct error failure = {0};
	bool same = false;
	int r;

	/* An interrupted PUT may still take effect later. */
	interrupt_hold();
	r = source_put_if(source, name, version, bytes, size, &failure);
	if (r < 0 && source_stat(source, name, &now, NULL) == 0) {
		same = strcmp(now.version, version) == 0;
		if (!same && is_stored(source, &now, bytes, size))
			r = 0;
	}
	interrupt_release();
	if ((r == -ESTALE || r == -EEXIST) && same)
		return no_conditions(source, name, err);
	return r < 0 ? error_set(err, r, "%s", error_text(&failure, r)) : 0;
}

static int load_tables(struct source *source, const struct source_object *o, struct seal *seal,
		       const struct seal_keys *keys, struct error *err)
{
	size_t size = (size_t)seal_tables_size(seal);
	uint8_t *tables;
	int r;

	if (o->size > REPLACE_SEAL_MAX)
		return error_set(err, -EFBIG, "seals of more than %d MiB are not rewritten",
				 (int)(REPLACE_SEAL_MAX >> 20));
	tables = malloc(size + 1);
	if (!tables)
		return error_set(err, -ENOMEM, "no memory for the tables of a seal");
	r = source_read(source, o->name, o->version, seal_tables_offset(seal), size, tables, err);
	if (r == 0)
		return seal_load_tables(seal, keys, tables, err);
	free(tables);
	return r;
}

int replace_seal_slots(struct source *source, const struct source_object *o, struct seal *seal,
		       const struct seal_keys *keys, const struct seal_slot *slots, unsigned count,
		       struct error *err)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t size = 0;
	int r = seal_has_tables(seal) ? 0 : load_tables(source, o, seal, keys, err);

	if (r == 0)
		r = seal_replace_slots(seal, keys, slots, count, &bytes, &size, err);
	return r < 0 ? r : replace_object(source, o->name, o->version, bytes, size, err);
}
