/*
 * Changes of a set. Job: the order of writes that leaves, wherever it is interrupted, the set as it
 * was or as it shall be: members' seals first, then the set, then what it no longer names. Must
 * never sign what was not checked against the owner that signs.
 */
#include "tools/set/set_change.h"

#include "crypto/base/log.h"
#include "crypto/name.h"
#include "tools/common/interrupt.h"
#include "tools/common/progress.h"
#include "tools/common/target.h"
#include "tools/seal/publish.h"
#include "tools/set/set_members.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

int set_command_open(struct set_command *c, struct cli *cli, struct error *err)
{
	int r = 0;

	if (source_spec_is_s3(c->source_spec))
		r = cli_aws(cli, &c->aws, err);
	return r < 0 ? r : source_open(c->source_spec, c->aws, false, &c->source, err);
}

void set_command_clear(struct set_command *c)
{
	for (size_t i = 0; c->added && i < c->added_count; i++)
		free(c->added[i]);
	free(steal_ptr(c->added));
	set_store_clear(&c->store);
	source_free(c->source);
	c->source = NULL;
}

int set_command_load(struct set_command *c, struct error *err)
{
	return set_store_need(&c->store, c->source, &c->access, err);
}

/* Opened, and signed by the key that signs the next version. */
static int load_to_write(struct set_command *c, struct error *err)
{
	int r;

	if (!c->access.unlock) {
		error_set(err, -EINVAL, "a key that opens the set is needed");
		error_hint(err, "give --key-file or --kms");
		return -EINVAL;
	}
	r = set_command_load(c, err);
	if (r == 0 && sealed_head_is_signed(set_head(c->store.set)) && !c->signer)
		r = error_set(err, -EINVAL, "%s is signed: give its owner's key with --sign",
			      c->store.label);
	return r;
}

/* What is to become a member. Paths are owned. */
struct wanted {
	struct set_member *members;
	char **paths;
	size_t count, room;
	uint64_t bytes;
};

static void wanted_clear(struct wanted *w)
{
	for (size_t i = 0; w->paths && i < w->count; i++)
		free(w->paths[i]);
	free(w->paths);
	free(w->members);
}

static int want(struct wanted *w, const char *path, size_t size)
{
	if (w->count == w->room) {
		size_t room = w->room ? 2 * w->room : 64;
		char **paths = reallocarray(w->paths, room, sizeof(*paths));

		if (!paths)
			return -ENOMEM;
		w->paths = paths;
		w->room = room;
	}
	w->paths[w->count] = strndup(path, size);
	if (!w->paths[w->count])
		return -ENOMEM;
	w->count++;
	return 0;
}

/*
 * 1: the seal at its name is not the one that the set names. -EBADMSG: it is an older one, and
 * nobody has named it: whoever can write here may have put it back, for the owner to sign it.
 */
static int is_news(const struct set_store *s, const struct source_object *o, struct error *err)
{
	_cleanup_free_ char *path = strndup(o->name, strlen(o->name) - strlen(SEAL_SUFFIX));
	const struct set_member *m = path && s->set ? set_find(s->set, path) : NULL;
	_cleanup_seal_ struct seal *seal = NULL;

	if (!m || target_read_head(s->source, o, o->name, &seal, NULL) < 0)
		return 1;
	if (set_check_member(s->set, m, seal, NULL) == 0)
		return 0;
	if (seal_core(seal)->sealed_at >= set_header(s->set)->created)
		return 1;
	error_hint(err, "remove it; to go back on purpose, name the model: set add … %s", path);
	return error_set(err, -EBADMSG,
			 "%s: it was sealed before version %" PRIu64
			 " of the set was made, and is not the one that it names",
			 o->name, set_header(s->set)->version);
}

/* all: also those that are members as they are. */
static int find_wanted(struct set_command *c, struct wanted *w, bool all, struct error *err)
{
	_cleanup_(source_listing_clear) struct source_listing l = {0};
	int r = 0;

	for (size_t i = 0; r == 0 && i < c->path_count; i++) {
		size_t size = strlen(c->paths[i]);
		const char *problem;

		if (name_is_seal(c->paths[i]))
			size -= strlen(SEAL_SUFFIX);
		problem = model_path_problem(c->paths[i], size);
		r = problem ? error_set(err, -EINVAL, "%s: %s", c->paths[i], problem)
			    : want(w, c->paths[i], size);
	}
	if (r < 0 || c->path_count > 0)
		return r;
	r = source_list(c->source, NULL, &l, err);
	for (size_t i = 0; r == 0 && i < l.count; i++) {
		const char *name = l.objects[i].name;

		if (name_is_seal(name))
			r = is_news(&c->store, &l.objects[i], err);
		if (name_is_seal(name) && (r == 1 || (r == 0 && all)))
			r = want(w, name, strlen(name) - strlen(SEAL_SUFFIX));
		if (r == 0)
			r = interrupt_check(err);
	}
	return r;
}

static int admit(struct set_command *c, struct wanted *w, const uint8_t * not, struct error *err)
{
	_cleanup_(progress_freep) struct progress *progress =
		progress_new("members (counted as kB)", w->count * 1000, c->quiet);
	int r = 0;

	w->members = calloc(w->count + 1, sizeof(*w->members));
	if (!w->members)
		return -ENOMEM;
	unlock_batch_begin(c->access.unlock);
	for (size_t i = 0; r == 0 && i < w->count; i++) {
		_cleanup_free_ char *object = NULL;

		if (asprintf(&object, "%s" SEAL_SUFFIX, w->paths[i]) < 0) {
			object = NULL;
			r = -ENOMEM;
		}
		if (r == 0)
			r = set_members_admit(&c->store, object, w->paths[i], not, &w->members[i],
					      err);
		if (r == 0)
			r = interrupt_check(err);
		progress_add(progress, 1000);
	}
	unlock_batch_end(c->access.unlock);
	return r;
}

static int now(uint64_t *ret, struct error *err)
{
	int r = seal_time(ret, err);

	if (r == 0 && *ret == SEALED_NOW)
		*ret = (uint64_t)time(NULL);
	return r;
}

static int commit(struct set_command *c, struct wanted *w, const char *const *drop,
		  size_t drop_count, struct error *err)
{
	struct set_change change = {.name = c->name,
				    .signer = c->signer,
				    .has_expires = c->has_expires,
				    .expires = c->expires,
				    .put = w ? w->members : NULL,
				    .put_count = w ? w->count : 0,
				    .drop = drop,
				    .drop_count = drop_count};
	int r = now(&change.now, err);

	if (r == 0)
		r = set_store_commit(&c->store, &change, err);
	return r < 0 ? r : set_members_finish(&c->store, err);
}

/* The set that is there, if it is the owner's: somebody else's says nothing. */
static int leave_former(struct set_command *c, struct wanted *w, struct error *err)
{
	struct set_store *s = &c->store;
	bool had = s->set != NULL;
	int r = 0;

	s->replaces = had && owner_keys_count(s->access.owners) > 0 &&
		      set_check_owner(s->set, s->access.owners, NULL) == 0;
	if (had)
		memcpy(s->replaced, set_header(s->set)->id, SET_ID_SIZE);
	if (s->replaces)
		r = set_store_check_state(s, err);
	else
		set_free(steal_ptr(s->set));
	if (r == 0)
		r = find_wanted(c, w, true, err);
	set_free(steal_ptr(s->set));
	return r;
}

int set_command_create(struct set_command *c, struct error *err)
{
	_cleanup_(recipients_freep) struct recipients *recipients = NULL;
	_cleanup_(wanted_clear) struct wanted w = {0};
	struct set_access look = {.id = c->access.id, .min_version = c->access.min_version};
	struct set_access access = {
		.owners = c->access.owners, .unlock = c->access.unlock, .state = c->access.state};
	bool had;
	int r;

	if (!c->name)
		return error_set(err, -EINVAL, "give the new set a name with --name");
	r = recipients_new(&c->recipients, c->aws, &recipients, err);
	if (r == 0)
		r = set_store_load(&c->store, c->source, &look, err);
	if (r < 0)
		return r;
	if (c->store.set && !c->replace) {
		error_set(err, -EEXIST, "there is a set already: %s", c->store.label);
		error_hint(err, "sealctl set add extends it; --replace makes a new one");
		return -EEXIST;
	}
	had = c->store.set != NULL;
	c->store.access = access;
	r = leave_former(c, &w, err);
	if (r == 0)
		r = set_store_begin(&c->store, recipients, err);
	if (r == 0 && w.count == 0)
		r = error_set(err, -ENOENT, "there is no sealed model in %s", c->source_spec);
	/* Members of the former set may have no other slot than its own. */
	if (r == 0)
		r = admit(c, &w, had ? c->store.replaced : NULL, err);
	c->added_count = w.count;
	return r < 0 ? r : commit(c, &w, NULL, 0, err);
}

int set_command_add(struct set_command *c, struct error *err)
{
	_cleanup_(wanted_clear) struct wanted w = {0};
	int r = load_to_write(c, err);

	/* Leftovers of a killed writer come first: they may be the models to add. */
	if (r == 0)
		r = set_members_finish(&c->store, err);
	if (r == 0)
		r = find_wanted(c, &w, false, err);
	if (r < 0)
		return r;
	if (w.count == 0 && !c->has_expires) {
		log_notice("every model in %s is a member already", c->source_spec);
		return 0;
	}
	r = admit(c, &w, NULL, err);
	c->added_count = w.count;
	if (r == 0)
		r = commit(c, &w, NULL, 0, err);
	if (r == 0)
		c->added = steal_ptr(w.paths);
	return r;
}

/* The seal and payload of a member, while the set still names it. */
static int find_objects(const struct set_command *c, const char *path, char **ret_seal,
			char **ret_payload, struct error *err)
{
	const struct set_member *m = set_find(c->store.set, path);
	_cleanup_seal_ struct seal *seal = NULL;
	_cleanup_free_ char *seal_name = NULL;
	int r;

	if (!m)
		return error_set(err, -ENOENT, "%s has no member \"%s\"", c->store.label, path);
	if (!c->delete)
		return 0;
	seal_name = set_seal_name(m);
	r = seal_name ? set_members_find(&c->store, m, &seal, ret_seal, err) : -ENOMEM;
	return r < 0 ? r : seal_payload_name(seal, seal_name, ret_payload);
}

static int delete (const struct set_command *c, char **seals, char **payloads, struct error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < c->path_count; i++) {
		r = source_remove(c->source, seals[i], err);
		if (r == 0)
			r = source_remove(c->source, payloads[i], err);
		if (r == -ENOENT)
			r = 0;
	}
	return r;
}

int set_command_remove(struct set_command *c, struct error *err)
{
	_cleanup_free_ char **seals = calloc(c->path_count, sizeof(*seals));
	_cleanup_free_ char **payloads = calloc(c->path_count, sizeof(*payloads));
	int r = seals && payloads ? load_to_write(c, err) : -ENOMEM;

	for (size_t i = 0; r == 0 && i < c->path_count; i++)
		r = find_objects(c, c->paths[i], &seals[i], &payloads[i], err);
	if (r == 0)
		r = commit(c, NULL, c->paths, c->path_count, err);
	if (r == 0) {
		c->removed_count = c->path_count;
		r = c->delete ? delete (c, seals, payloads, err) : 0;
	}
	for (size_t i = 0; seals && payloads && i < c->path_count; i++) {
		free(seals[i]);
		free(payloads[i]);
	}
	return r;
}
