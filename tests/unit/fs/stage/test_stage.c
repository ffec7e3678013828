/* The stage: what is kept, how much, and damaged copies. The origin is in memory and counts
 * requests. */
#include "fs/stage/staged.h"

#include "tests/unit/fs/read/memory_source.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

#define CHUNK ((size_t)SEAL_CHUNK_SIZE)
#define EXTENT ((size_t)SEAL_EXTENT_SIZE)
#define OBJECTS 3
#define SIZE (EXTENT + 3 * CHUNK + 4097)
#define WAIT_MS 120000
#define LIMIT ((uint64_t)1 << 30)

static const char *const names[OBJECTS] = {"a.00000000000000a0.sealed", "b.00000000000000b0.sealed",
					   "c.fffffffffffffff0.sealed"};

struct world {
	char dir[64];
	struct memory_source origin;
	uint8_t *data[OBJECTS];
	struct source *source;
	const struct stage_counters *counters;
	uint8_t *buf;
	atomic_uint notices;
};

static void on_notice(void *arg, const char *text)
{
	struct world *w = arg;

	atomic_fetch_add(&w->notices, 1);
}

static void fill(uint8_t *data, size_t size, unsigned seed)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15U + 1;

	for (size_t i = 0; i < size; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		data[i] = (uint8_t)x;
	}
}

static void open_stage(struct world *w, uint64_t limit)
{
	struct stage_options options = {.dir = w->dir,
					.size_bytes = limit,
					.memory_bytes = 4 * EXTENT,
					.notice = on_notice,
					.arg = w};
	struct error err = {0};

	w->source = &w->origin.source;
	if (source_stage(&w->source, &options, &err) < 0)
		fail_msg("%s", err.message);
	w->counters = source_stage_counters(w->source);
	assert_non_null(w->counters);
	for (unsigned i = 0; i < OBJECTS; i++) {
		struct source_object o;

		assert_int_equal(source_stat(w->source, names[i], &o, &err), 0);
		source_object_clear(&o);
	}
	atomic_store(&w->origin.reads, 0);
}

static void close_stage(struct world *w)
{
	source_free(w->source);
	w->source = NULL;
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	(void)snprintf(w->dir, sizeof(w->dir), "/tmp/sealedfs-stage.XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	memory_source_init(&w->origin, true);
	assert_int_equal(posix_memalign((void **)&w->buf, 4096, SIZE + 4096), 0);
	for (unsigned i = 0; i < OBJECTS; i++) {
		w->data[i] = malloc(SIZE);
		fill(w->data[i], SIZE, i + 1);
		memory_source_add(&w->origin, names[i], w->data[i], SIZE, "v1");
	}
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	_cleanup_closedir_ DIR *dir = opendir(w->dir);
	struct dirent *de;

	if (w->source)
		close_stage(w);
	while ((de = readdir(dir)))
		(void)unlinkat(dirfd(dir), de->d_name, 0);
	(void)rmdir(w->dir);
	for (unsigned i = 0; i < OBJECTS; i++)
		free(w->data[i]);
	free(w->buf);
	free(w);
	return 0;
}

static void read_at(struct world *w, unsigned object, uint64_t offset, size_t size)
{
	struct error err = {0};

	memset(w->buf, 0, size);
	if (source_read(w->source, names[object], w->origin.objects[object].version, offset, size,
			w->buf, &err) < 0)
		fail_msg("%s", err.message);
	assert_memory_equal(w->buf, w->data[object] + offset, size);
}

static void read_all(struct world *w, unsigned object)
{
	for (uint64_t at = 0; at < SIZE; at += EXTENT)
		read_at(w, object, at, MIN(EXTENT, SIZE - at));
}

static void wait_written(const struct world *w, uint64_t bytes)
{
	const struct timespec pause = {.tv_nsec = 1000000};

	for (unsigned i = 0; i < WAIT_MS; i++) {
		if (atomic_load(&w->counters->written_bytes) >= bytes)
			return;
		(void)nanosleep(&pause, NULL);
	}
	fail_msg("only %llu of %llu bytes were written",
		 (unsigned long long)atomic_load(&w->counters->written_bytes),
		 (unsigned long long)bytes);
}

static unsigned asked(struct world *w)
{
	return atomic_exchange(&w->origin.reads, 0);
}

/* Names of extents: "<id>.<extent>.<chunks>". */
#define EXTENT_0 "00000000000000a0.00000000.ffff"
#define EXTENT_1 "00000000000000a0.00000001.000f"

static void path_of(const struct world *w, const char *name, char path[128])
{
	(void)snprintf(path, 128, "%s/%s", w->dir, name);
}

static bool is_there(const struct world *w, const char *name)
{
	char path[128];

	path_of(w, name, path);
	return access(path, F_OK) == 0;
}

static void overwrite(const struct world *w, const char *name, uint64_t offset, const void *bytes,
		      size_t size)
{
	char path[128];
	int fd;

	path_of(w, name, path);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(pwrite(fd, bytes, size, (off_t)offset), size);
	close(fd);
}

static void test_second_read(void **state)
{
	struct world *w = *state;

	open_stage(w, LIMIT);
	read_all(w, 0);
	assert_int_equal(asked(w), 2);
	wait_written(w, SIZE);
	read_all(w, 0);
	/* Within a chunk, over chunks and over the extent, at the very end. */
	read_at(w, 0, 5, 100);
	read_at(w, 0, EXTENT - 7, 14);
	read_at(w, 0, CHUNK - 1, 3 * CHUNK);
	read_at(w, 0, SIZE - 4098, 4098);
	assert_int_equal(asked(w), 0);
	assert_int_equal(atomic_load(&w->counters->damaged), 0);
	assert_true(atomic_load(&w->counters->hits) >= 6);
}

static void test_after_restart(void **state)
{
	struct world *w = *state;

	open_stage(w, LIMIT);
	read_all(w, 0);
	wait_written(w, SIZE);
	close_stage(w);
	open_stage(w, LIMIT);
	read_all(w, 0);
	assert_int_equal(asked(w), 0);
	read_at(w, 1, 0, CHUNK);
	assert_int_equal(asked(w), 1);
}

static void test_parts(void **state)
{
	struct world *w = *state;

	open_stage(w, LIMIT);
	read_at(w, 0, 4 * CHUNK, 2 * CHUNK);
	wait_written(w, 2 * CHUNK);
	assert_int_equal(asked(w), 1);
	assert_true(is_there(w, "00000000000000a0.00000000.0030"));
	/* Missing, here, missing: two requests. */
	read_at(w, 0, 0, EXTENT);
	assert_int_equal(asked(w), 2);
	wait_written(w, EXTENT);
	read_at(w, 0, 0, EXTENT);
	assert_int_equal(asked(w), 0);
	assert_true(is_there(w, EXTENT_0));
	assert_false(is_there(w, "00000000000000a0.00000000.0030"));
	/* Less than a chunk is not kept. */
	read_at(w, 1, 10, CHUNK);
	read_at(w, 1, 10, CHUNK);
	assert_int_equal(asked(w), 2);
}

/* The file id names what is staged; the origin's version counts only for what comes from there. */
static void test_another_version(void **state)
{
	struct world *w = *state;
	struct source_object o;
	struct error err = {0};

	open_stage(w, LIMIT);
	read_at(w, 0, 0, EXTENT);
	wait_written(w, EXTENT);
	w->origin.objects[0].version = "v2";
	asked(w);
	assert_int_equal(source_read(w->source, names[0], "v1", 0, EXTENT, w->buf, &err), 0);
	assert_memory_equal(w->buf, w->data[0], EXTENT);
	assert_int_equal(asked(w), 0);
	assert_int_equal(source_read(w->source, names[0], "v1", EXTENT, CHUNK, w->buf, &err),
			 -ESTALE);
	assert_int_equal(source_stat(w->source, names[0], &o, &err), 0);
	assert_string_equal(o.version, "v2");
	source_object_clear(&o);
	asked(w);
	read_all(w, 0);
	assert_int_equal(asked(w), 1);
	wait_written(w, SIZE);
	read_all(w, 0);
	assert_int_equal(asked(w), 0);
}

static void test_only_payloads(void **state)
{
	struct world *w = *state;
	struct error err = {0};
	struct source_object o;

	memory_source_add(&w->origin, "x.seal", w->data[0], SIZE, "v1");
	open_stage(w, LIMIT);
	assert_int_equal(source_stat(w->source, "x.seal", &o, &err), 0);
	source_object_clear(&o);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(source_read(w->source, "x.seal", "v1", 0, CHUNK, w->buf, &err), 0);
	/* No version: whatever is there now. */
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(source_read(w->source, names[0], NULL, 0, CHUNK, w->buf, &err), 0);
	assert_int_equal(asked(w), 4);
}

static void test_damaged_extent_is_dropped(void **state)
{
	struct world *w = *state;
	struct error err = {0};

	open_stage(w, LIMIT);
	read_all(w, 0);
	wait_written(w, SIZE);
	overwrite(w, EXTENT_0, 3 * CHUNK + 9, "xyz", 3);
	asked(w);
	assert_int_equal(source_read(w->source, names[0], "v1", 3 * CHUNK, CHUNK, w->buf, &err), 0);
	assert_memory_not_equal(w->buf, w->data[0] + 3 * CHUNK, CHUNK);
	assert_int_equal(
		source_read_fresh(w->source, names[0], "v1", 3 * CHUNK, CHUNK, w->buf, &err), 0);
	assert_memory_equal(w->buf, w->data[0] + 3 * CHUNK, CHUNK);
	assert_int_equal(asked(w), 1);
	assert_int_equal(atomic_load(&w->notices), 1);
	assert_false(is_there(w, EXTENT_0));
	wait_written(w, SIZE + CHUNK);
	/* Before and after the chunk that came already; the other extent is still here. */
	read_all(w, 0);
	assert_int_equal(asked(w), 2);
	wait_written(w, SIZE + EXTENT);
	read_all(w, 0);
	assert_int_equal(asked(w), 0);
	/* A good copy is left alone. */
	assert_int_equal(source_read_fresh(w->source, names[0], "v1", 0, CHUNK, w->buf, &err), 0);
	assert_int_equal(atomic_load(&w->counters->damaged), 1);
	read_at(w, 0, 0, CHUNK);
	assert_int_equal(asked(w), 1);
}

/* They are reported at most every ten seconds. */
static void test_many_damaged_extents(void **state)
{
	struct world *w = *state;
	struct error err = {0};

	open_stage(w, LIMIT);
	for (unsigned i = 0; i < OBJECTS; i++)
		read_at(w, i, 0, CHUNK);
	wait_written(w, OBJECTS * CHUNK);
	overwrite(w, "00000000000000a0.00000000.0001", 0, "x", 1);
	overwrite(w, "00000000000000b0.00000000.0001", CHUNK - 1, "x", 1);
	for (unsigned i = 0; i < OBJECTS; i++)
		assert_int_equal(
			source_read_fresh(w->source, names[i], "v1", 0, CHUNK, w->buf, &err), 0);
	wait_written(w, (OBJECTS + 2) * CHUNK);
	assert_int_equal(atomic_load(&w->counters->damaged), 2);
	assert_int_equal(atomic_load(&w->notices), 1);
	asked(w);
	for (unsigned i = 0; i < OBJECTS; i++)
		read_at(w, i, 0, CHUNK);
	assert_int_equal(asked(w), 0);
}

static void test_origin_fails(void **state)
{
	struct world *w = *state;
	struct error err = {0};

	open_stage(w, LIMIT);
	w->origin.objects[0].version = "v9";
	assert_int_equal(source_read(w->source, names[0], "v1", 0, CHUNK, w->buf, &err), -ESTALE);
	assert_int_equal(source_read_fresh(w->source, names[0], "v1", 0, CHUNK, w->buf, &err),
			 -ESTALE);
	assert_int_equal(atomic_load(&w->counters->written_bytes), 0);
}

static uint64_t disk_bytes(const struct world *w)
{
	_cleanup_closedir_ DIR *dir = opendir(w->dir);
	struct dirent *de;
	uint64_t sum = 0;

	while ((de = readdir(dir))) {
		struct stat st;

		if (fstatat(dirfd(dir), de->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISREG(st.st_mode))
			sum += (uint64_t)st.st_blocks * 512;
	}
	return sum;
}

static void test_eviction(void **state)
{
	struct world *w = *state;
	uint64_t limit = 2 * SIZE + CHUNK;

	open_stage(w, limit);
	read_all(w, 0);
	wait_written(w, SIZE);
	read_all(w, 1);
	wait_written(w, 2 * SIZE);
	/* 0 is now what was used last: 1 has to make room. */
	read_all(w, 0);
	asked(w);
	read_all(w, 2);
	wait_written(w, 3 * SIZE);
	assert_true(atomic_load(&w->counters->evicted_bytes) > 0);
	assert_true(atomic_load(&w->counters->staged_bytes) <= limit);
	assert_true(disk_bytes(w) <= limit);
	asked(w);
	read_all(w, 0);
	read_all(w, 2);
	assert_int_equal(asked(w), 0);
	read_all(w, 1);
	assert_true(asked(w) > 0);
	close_stage(w);
	open_stage(w, STAGE_SIZE_MIN);
	assert_true(disk_bytes(w) <= STAGE_SIZE_MIN);
}

static void test_own_extents_stay(void **state)
{
	struct world *w = *state;

	open_stage(w, EXTENT + 2 * CHUNK);
	read_all(w, 0);
	wait_written(w, EXTENT);
	for (unsigned i = 0; i < 3; i++) {
		read_all(w, 0);
		assert_int_equal(asked(w), i == 0 ? 3 : 1);
	}
	assert_int_equal(atomic_load(&w->counters->evicted_bytes), 0);
}

/* The order in which extents go is kept over a restart, as the times of their files. */
static void test_eviction_after_restart(void **state)
{
	const struct timespec pause = {.tv_nsec = 20000000};
	struct world *w = *state;

	open_stage(w, LIMIT);
	for (unsigned i = 0; i < 2; i++) {
		read_at(w, i, 0, EXTENT);
		wait_written(w, (i + 1) * EXTENT);
		(void)nanosleep(&pause, NULL);
	}
	close_stage(w);
	open_stage(w, LIMIT);
	read_at(w, 0, 0, EXTENT);
	close_stage(w);
	open_stage(w, 2 * EXTENT);
	read_at(w, 2, 0, EXTENT);
	wait_written(w, EXTENT);
	asked(w);
	read_at(w, 0, 0, EXTENT);
	assert_int_equal(asked(w), 0);
	read_at(w, 1, 0, EXTENT);
	assert_int_equal(asked(w), 1);
}

struct leftover {
	const char *name;
	bool stays;
};

/* Files of the folder that are no extents of ours. */
static void test_leftovers(void **state)
{
	static const struct leftover files[] = {
		{"0123456789abcdef.data", false}, /* an older version's */
		{"0123456789abcdef.index", false},
		{"00000000000000a0.00000005.0000", false}, /* a write that was interrupted */
		{"0123456789abcdef.index.old", true},
		{"0123456789ABCDEF.00000000.ffff", true},
		{"00000000000000a0.00000000.fff", true},
		{"00000000000000a0.00000000.ffff.old", true},
		{" 0000000000000a0.00000000.ffff", true},
		{"00000000000000a0.+0000000.ffff", true},
		{"notes", true},
	};
	struct world *w = *state;
	char path[128];

	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		overwrite(w, files[i].name, 0, "x", 1);
	path_of(w, EXTENT_0, path);
	assert_int_equal(symlink("notes", path), 0);
	path_of(w, EXTENT_1, path);
	overwrite(w, EXTENT_1, 0, "x", 1);
	assert_int_equal(chmod(path, 0620), 0);
	open_stage(w, LIMIT);
	assert_int_equal(atomic_load(&w->notices), 1);
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		assert_int_equal(is_there(w, files[i].name), files[i].stays);
	path_of(w, EXTENT_0, path);
	assert_int_equal(faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW), -1);
	assert_false(is_there(w, EXTENT_1));
	assert_int_equal(atomic_load(&w->counters->staged_bytes), 0);
	read_all(w, 0);
	assert_int_equal(asked(w), 2);
}

/* Names that promise more than is in the files, or than the payload has. */
static void test_names_claim_too_much(void **state)
{
	struct world *w = *state;
	char path[128], more[128];

	open_stage(w, LIMIT);
	read_all(w, 0);
	wait_written(w, SIZE);
	close_stage(w);
	path_of(w, EXTENT_0, path);
	assert_int_equal(truncate(path, (off_t)(2 * CHUNK + 5)), 0);
	path_of(w, EXTENT_1, path);
	path_of(w, "00000000000000a0.00000001.ffff", more);
	assert_int_equal(rename(path, more), 0);
	overwrite(w, "00000000000000a0.ffffffff.8001", 0, "x", 1);
	open_stage(w, LIMIT);
	assert_true(disk_bytes(w) <= atomic_load(&w->counters->staged_bytes));
	read_all(w, 0);
	assert_int_equal(asked(w), 1);
	assert_int_equal(atomic_load(&w->notices), 1);
	wait_written(w, EXTENT);
	read_all(w, 0);
	assert_int_equal(asked(w), 0);
}

/* Files that go while they are in use are no damage. */
static void test_removed_while_in_use(void **state)
{
	struct world *w = *state;
	char path[128];

	open_stage(w, LIMIT);
	read_all(w, 0);
	wait_written(w, SIZE);
	path_of(w, EXTENT_0, path);
	assert_int_equal(unlink(path), 0);
	asked(w);
	read_all(w, 0);
	assert_int_equal(asked(w), 1);
	wait_written(w, SIZE + EXTENT);
	assert_true(is_there(w, EXTENT_0));
	assert_int_equal(atomic_load(&w->counters->damaged), 0);
	assert_int_equal(atomic_load(&w->notices), 0);
}

struct reader {
	struct world *world;
	unsigned seed;
	int result;
};

static void *read_about(void *arg)
{
	struct reader *r = arg;
	uint8_t *buf = aligned_alloc(4096, EXTENT);
	struct error err = {0};

	for (unsigned i = 0; i < 60 && r->result == 0; i++) {
		unsigned object = (r->seed + i) % OBJECTS;
		uint64_t chunk = (r->seed * 7 + i * 13) % (SIZE / CHUNK);
		size_t size = MIN((size_t)(1 + i % 5) * CHUNK, SIZE - (size_t)chunk * CHUNK);
		bool fresh = i % 7 == 0;

		r->result = (fresh ? source_read_fresh : source_read)(
			r->world->source, names[object], "v1", chunk * CHUNK, size, buf, &err);
		if (r->result == 0 &&
		    memcmp(buf, r->world->data[object] + chunk * CHUNK, size) != 0)
			r->result = -EBADMSG;
	}
	free(buf);
	return NULL;
}

/* Readers, the writer, eviction and fresh reads at once: no byte is ever wrong. */
static void test_threads(void **state)
{
	struct world *w = *state;
	struct reader readers[6];
	pthread_t threads[ARRAY_LEN(readers)];

	open_stage(w, STAGE_SIZE_MIN);
	for (unsigned i = 0; i < ARRAY_LEN(readers); i++) {
		readers[i] = (struct reader){w, i, 0};
		assert_int_equal(pthread_create(&threads[i], NULL, read_about, &readers[i]), 0);
	}
	for (unsigned i = 0; i < ARRAY_LEN(readers); i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(readers[i].result, 0);
	}
	assert_int_equal(atomic_load(&w->counters->damaged), 0);
	assert_true(disk_bytes(w) <= STAGE_SIZE_MIN);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_second_read, setup, teardown),
		cmocka_unit_test_setup_teardown(test_after_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(test_parts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_another_version, setup, teardown),
		cmocka_unit_test_setup_teardown(test_only_payloads, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damaged_extent_is_dropped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_damaged_extents, setup, teardown),
		cmocka_unit_test_setup_teardown(test_origin_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(test_eviction, setup, teardown),
		cmocka_unit_test_setup_teardown(test_own_extents_stay, setup, teardown),
		cmocka_unit_test_setup_teardown(test_eviction_after_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(test_leftovers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_names_claim_too_much, setup, teardown),
		cmocka_unit_test_setup_teardown(test_removed_while_in_use, setup, teardown),
		cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
