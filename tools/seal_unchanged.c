/*
 * Unchanged members. Job: compare a file with what the set, whose owner was checked, states of it.
 * Must never leave out a file whose sealed objects are not there.
 */
#include "tools/seal_unchanged.h"

#include "crypto/base/encode.h"
#include "crypto/base/log.h"
#include "crypto/base/printable.h"
#include "tools/inspect/hash_input.h"
#include "tools/set/set_check.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

int seal_is_unchanged(const struct seal_settings *s, const struct cli *cli,
		      const struct plan_entry *entry, struct error *err)
{
	const struct set_store *store = &s->sealing.store;
	const struct set_member *m =
		store->set && !s->again ? set_find(store->set, entry->name) : NULL;
	struct input_digests found = {0};
	struct error why = {0};
	struct stat st;
	int r;

	if (!m || s->from_sample || s->length || stat(entry->path, &st) < 0 ||
	    !S_ISREG(st.st_mode) || (uint64_t)st.st_size != m->length)
		return 0;
	/* What is wrong with it, sealing it again mends. */
	r = set_check_one(store, m, s->set.alone, &why);
	if (r < 0) {
		log_notice("\"%s\" is sealed again: %s", entry->name, error_text(&why, r));
		return 0;
	}
	r = hash_path(entry->path, entry->name, cli->quiet, &found, err);
	if (r < 0)
		return r;
	return found.length == m->length &&
	       memcmp(found.digests.sha256, m->sha256, sizeof(m->sha256)) == 0 &&
	       memcmp(found.digests.sha384, m->sha384, sizeof(m->sha384)) == 0 &&
	       memcmp(found.digests.verity, m->verity, sizeof(m->verity)) == 0;
}

void seal_print_set(const struct seal_settings *s, const struct cli *cli)
{
	const struct set_store *store = &s->sealing.store;
	char id[2 * SET_ID_SIZE + 1];

	if (!s->set.name || cli->quiet || cli->json)
		return;
	if (s->unchanged > 0)
		print_safely(stdout, "%zu member%s unchanged and not sealed again\n", s->unchanged,
			     s->unchanged == 1 ? " is" : "s are");
	hex_encode(set_header(store->set)->id, SET_ID_SIZE, id);
	print_safely(stdout, "%s: %sversion %" PRIu64 ", id %s\n", store->label,
		     set_header(store->set)->version == 1 && s->unchanged == 0 ? "a new set, " : "",
		     set_header(store->set)->version, id);
}
