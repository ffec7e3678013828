/* fs/models/mounted_set, fs/view/members: what is kept of a set and for how long, and its tree. */
#include "fs/models/mounted_set.h"

#include "crypto/base/clock.h"
#include "crypto/failure.h"
#include "crypto/set_writer.h"
#include "fs/view/view.h"
#include "tests/unit/fs/read/memory_source.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define MANY 3000 /* more than comes with the first request */

static struct {
	char dir[64], object[96], keyfile[96];
	struct keyfile *key;
	struct secret *set_key;
	struct source *source;
	struct unlock *unlock;
	struct allowance allowance;
	uint8_t id[SET_ID_SIZE];
} world;

static int set_up(void **state)
{
	const char *keyfiles[] = {world.keyfile};
	struct unlock_options options = {.keyfiles = keyfiles, .keyfile_count = 1};

	(void)snprintf(world.dir, sizeof(world.dir), "/tmp/sealedfs-set.XXXXXX");
	if (!mkdtemp(world.dir))
		return -1;
	(void)snprintf(world.object, sizeof(world.object), "%s/" SET_OBJECT_NAME, world.dir);
	(void)snprintf(world.keyfile, sizeof(world.keyfile), "%s/key", world.dir);
	assert_int_equal(keyfile_generate(world.keyfile, NULL), 0);
	assert_int_equal(keyfile_load(world.keyfile, &world.key, NULL), 0);
	assert_int_equal(secret_new_random(32, &world.set_key), 0);
	assert_int_equal(source_open(world.dir, NULL, false, &world.source, NULL), 0);
	assert_int_equal(unlock_new(&options, &world.unlock, NULL), 0);
	world.allowance = (struct allowance){.limit = (size_t)64 << 20};
	memset(world.id, 7, sizeof(world.id));
	return 0;
}

static int tear_down(void **state)
{
	assert_int_equal(atomic_load(&world.allowance.used), 0);
	unlock_free(world.unlock);
	source_free(world.source);
	secret_free(world.set_key);
	keyfile_free(world.key);
	(void)unlink(world.object);
	(void)unlink(world.keyfile);
	return rmdir(world.dir);
}

static void write_object(const uint8_t *bytes, size_t size)
{
	FILE *f;

	(void)unlink(world.object);
	f = fopen(world.object, "we");
	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, size, f), size);
	assert_int_equal(fclose(f), 0);
}

/* members: sorted or not. Returns the object, which the caller frees. */
static uint8_t *make_object(uint64_t version, uint64_t expires, struct set_member *members,
			    size_t count, size_t *ret_size)
{
	_cleanup_set_keys_ struct set_keys *keys = NULL;
	uint8_t *bytes = NULL;
	struct seal_slot slot;
	struct set_make m = {.id = world.id,
			     .name = "test",
			     .facts = "",
			     .version = version,
			     .created = 1000,
			     .expires = expires,
			     .members = members,
			     .member_count = count,
			     .slots = &slot,
			     .slot_count = 1};

	assert_int_equal(slot_make_keyfile(world.key, world.id, world.set_key, &slot), 0);
	assert_int_equal(set_keys_make(world.id, world.set_key, &keys), 0);
	m.keys = keys;
	assert_int_equal(set_make(&m, &bytes, ret_size, NULL), 0);
	return bytes;
}

static void write_members(uint64_t version, uint64_t expires, struct set_member *members,
			  size_t count)
{
	size_t size = 0;
	_cleanup_free_ uint8_t *bytes = make_object(version, expires, members, count, &size);

	write_object(bytes, size);
}

static void write_set(uint64_t version, uint64_t expires, size_t count)
{
	_cleanup_free_ struct set_member *members = calloc(count, sizeof(*members));
	_cleanup_free_ char(*paths)[24] = calloc(count, sizeof(*paths));

	for (size_t i = 0; i < count; i++) {
		(void)snprintf(paths[i], sizeof(paths[i]), "d/%05zu", i);
		members[i].path = paths[i];
		members[i].length = i;
		members[i].file_id[0] = (uint8_t)i;
	}
	write_members(version, expires, members, count);
}

static int read_set(struct mounted_set *was, struct mounted_set **ret, struct error *err)
{
	struct set_policy policy = {
		.source = world.source, .unlock = world.unlock, .allowance = &world.allowance};

	return mounted_set_read(&policy, was, ret, err);
}

static struct mounted_set *good(struct mounted_set *was)
{
	struct mounted_set *s = NULL;
	struct error err = {0};

	if (read_set(was, &s, &err) < 0)
		fail_msg("%s", err.message);
	return s;
}

/* Nothing is kept of what is refused. */
static void refused(struct mounted_set *was, int code, const char *words)
{
	size_t used = atomic_load(&world.allowance.used);
	struct mounted_set *s = NULL;
	struct error err = {0};

	assert_int_equal(read_set(was, &s, &err), code);
	assert_null(s);
	assert_int_equal(atomic_load(&world.allowance.used), used);
	if (!strstr(err.message, words))
		fail_msg("%s, not: %s", err.message, words);
}

static void holds_and_memory(void **state)
{
	struct mounted_set *first, *second;
	size_t used;

	write_set(1, 0, MANY);
	first = good(NULL);
	used = atomic_load(&world.allowance.used);
	assert_in_range(used, MANY * sizeof(struct set_member),
			MANY * (sizeof(struct set_member) + 300));
	assert_int_equal(set_header(mounted_set_get(first))->member_count, MANY);
	assert_non_null(set_find(mounted_set_get(first), "d/02999"));
	second = good(first); /* the same object */
	assert_ptr_equal(second, first);
	mounted_set_drop(first, NULL);
	assert_int_equal(atomic_load(&world.allowance.used), used);
	write_set(2, 0, 1);
	first = good(second);
	assert_ptr_not_equal(first, second);
	mounted_set_drop(second, NULL);
	mounted_set_drop(first, NULL);
}

static void too_large_for_the_memory(void **state)
{
	write_set(1, 0, MANY);
	world.allowance.limit = (size_t)1 << 20;
	refused(NULL, -ENOBUFS, "with 3000 members");
}

static void forward_only(void **state)
{
	struct mounted_set *was, *now;
	uint8_t byte = 0;

	assert_null(good(NULL));
	write_set(5, 0, 3);
	was = good(NULL);
	write_set(4, 0, 3);
	refused(was, -EBADMSG, "it has version 4, and the mount shows version 5");
	write_set(5, 0, 2);
	refused(was, -EBADMSG, "version 5 has another content");
	write_set(5, 0, 3);
	now = good(was); /* written anew, the same */
	assert_ptr_equal(now, was);
	mounted_set_drop(now, NULL);
	write_set(6, 2000, 3);
	refused(was, -EKEYEXPIRED, "the set has expired");
	write_object(&byte, 1);
	refused(was, -EPROTO, "malformed");
	world.id[0]++;
	write_set(9, 0, 3);
	refused(was, -EBADMSG, "it is the set");
	(void)unlink(world.object);
	refused(was, -ENOENT, "is gone");
	mounted_set_drop(was, NULL);
}

/* The object is the same, and has expired since. */
static void expires_under_a_mount(void **state)
{
	uint64_t expires = (uint64_t)clock_now_s() + 4;
	struct mounted_set *was;

	write_set(1, expires, 1);
	was = good(NULL);
	while ((uint64_t)clock_now_s() <= expires)
		assert_int_equal(usleep(50000), 0);
	refused(was, -EKEYEXPIRED, "the set has expired");
	mounted_set_drop(was, NULL);
}

struct replacing {
	struct memory_source memory;
	uint8_t *objects[2];
	size_t sizes[2];
	unsigned times; /* how often the object is replaced between a look and a reading */
};

static int replace(void *arg, const char *name, uint64_t offset, size_t size, uint8_t *buf,
		   struct error *err)
{
	struct replacing *r = arg;

	if (r->times == 0)
		return 0;
	r->times--;
	r->memory.objects[0].data = r->objects[1];
	r->memory.objects[0].size = r->sizes[1];
	r->memory.objects[0].version = "v2";
	return -ESTALE;
}

/* A writer is faster than we are: what is there then is read. */
static void replaced_meanwhile(void **state)
{
	struct set_member member = {.path = "m"};
	struct set_policy policy = {.unlock = world.unlock, .allowance = &world.allowance};

	for (unsigned times = 1; times <= 3; times++) {
		struct replacing r = {.times = times};
		struct mounted_set *s = NULL;
		int code;

		r.objects[0] = make_object(1, 0, &member, 1, &r.sizes[0]);
		r.objects[1] = make_object(2, 0, &member, 1, &r.sizes[1]);
		memory_source_init(&r.memory, false);
		memory_source_add(&r.memory, SET_OBJECT_NAME, r.objects[0], r.sizes[0], "v1");
		r.memory.hook = replace;
		r.memory.hook_arg = &r;
		policy.source = &r.memory.source;
		code = mounted_set_read(&policy, NULL, &s, NULL);
		assert_int_equal(code, times < 3 ? 0 : -ESTALE);
		if (s)
			assert_int_equal(set_header(mounted_set_get(s))->version, 2);
		mounted_set_drop(s, NULL);
		free(r.objects[0]);
		free(r.objects[1]);
	}
}

/* Made without a source: it is asked for nothing. */
static void tree(void **state)
{
	struct set_member members[] = {{.path = "m.gguf", .length = 5},
				       {.path = "m.gguf.ollama", .length = 7},
				       {.path = "d/x", .length = 11},
				       {.path = "alone.ollama", .length = 13}};
	struct mounted_set *s;
	struct view_options options = {.allowance = &world.allowance, .file_bytes = 100};
	struct view *v = NULL;
	const struct view_node *n;

	write_members(1, 0, members, ARRAY_LEN(members));
	s = good(NULL);
	options.set = mounted_set_get(s);
	assert_int_equal(view_read(&options, &v, NULL), 0);
	assert_int_equal(view_number(v), 0);
	assert_int_equal(v->file_count, 3);
	assert_int_equal(v->total_size, 5 + 11 + 13);
	n = view_lookup(v->root, "m.gguf");
	assert_int_equal(n->size, 5);
	assert_string_equal(n->member->path, "m.gguf");
	assert_string_equal(n->seal.name, "m.gguf.seal");
	assert_int_equal(n->mtime_ns, 1000 * (int64_t)1000000000);
	assert_string_equal(n->description->member->path, "m.gguf.ollama");
	assert_null(view_lookup(v->root, "m.gguf.ollama"));
	assert_non_null(view_lookup(view_lookup(v->root, "d"), "x"));
	view_free(v);
	world.allowance.limit = atomic_load(&world.allowance.used) + 500;
	assert_int_equal(view_read(&options, &v, NULL), -ENOBUFS);
	mounted_set_drop(s, NULL);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(holds_and_memory),	     TEST(too_large_for_the_memory), TEST(forward_only),
		TEST(expires_under_a_mount), TEST(replaced_meanwhile),	     TEST(tree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
