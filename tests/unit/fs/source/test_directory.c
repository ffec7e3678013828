/* fs/source over a directory: names, versions, listings, atomic writes, no way out of the root. */
#include "crypto/base/error.h"
#include "crypto/format.h"
#include "fs/source/source.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <string.h>
#include <sys/stat.h>

#define EXTENT ((size_t)SEAL_EXTENT_SIZE)

struct fixture {
	char root[64]; /* holds in/ (the source) and outside */
	struct source *source;
};

static void path_of(const struct fixture *f, const char *name, char out[256])
{
	(void)snprintf(out, 256, "%s/%s", f->root, name);
}

static void write_file(const struct fixture *f, const char *name, const char *text)
{
	char path[256];
	_cleanup_fclose_ FILE *file = NULL;

	path_of(f, name, path);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error err = {0};
	char path[256];

	(void)snprintf(f->root, sizeof(f->root), "/tmp/test-source-XXXXXX");
	if (!mkdtemp(f->root))
		return -1;
	path_of(f, "in", path);
	*state = f;
	return source_open(path, NULL, true, &f->source, &err);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	source_free(f->source);
	nftw(f->root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static size_t count_entries(const struct fixture *f, const char *name)
{
	char path[256];
	_cleanup_closedir_ DIR *dir = NULL;
	size_t n = 0;

	path_of(f, name, path);
	dir = opendir(path);
	assert_non_null(dir);
	while (readdir(dir))
		n++;
	return n - 2;
}

static void puts_and_reads(void **state)
{
	struct fixture *f = *state;
	struct error err = {0};
	struct source_object o = {0};
	uint8_t buf[8];

	assert_int_equal(source_put(f->source, "a/b/m.seal", "0123456789", 10, &err), 0);
	assert_int_equal(source_stat(f->source, "a/b/m.seal", &o, &err), 0);
	assert_int_equal(o.size, 10);
	assert_int_equal(source_read(f->source, "a/b/m.seal", o.version, 2, 5, buf, &err), 0);
	assert_memory_equal(buf, "23456", 5);
	assert_int_equal(source_read(f->source, "a/b/m.seal", NULL, 9, 1, buf, &err), 0);
	assert_int_equal(source_read(f->source, "a/b/m.seal", o.version, 10, 0, buf, &err), 0);
	assert_int_equal(source_read(f->source, "a/b/m.seal", o.version, 5, 6, buf, &err),
			 -ENODATA);
	source_object_clear(&o);
	assert_int_equal(source_remove(f->source, "a/b/m.seal", NULL), 0);
	assert_int_equal(source_stat(f->source, "a/b/m.seal", &o, NULL), -ENOENT);
	assert_int_equal(source_remove(f->source, "a/b/m.seal", NULL), -ENOENT);
}

static void empty_object_is_an_object(void **state)
{
	struct fixture *f = *state;
	struct source_object o = {0};

	assert_int_equal(source_put(f->source, "empty", NULL, 0, NULL), 0);
	assert_int_equal(source_stat(f->source, "empty", &o, NULL), 0);
	assert_int_equal(o.size, 0);
	source_object_clear(&o);
}

static void refuses_names(void **state)
{
	static const char *const bad[] = {"",	  "/",	 "/etc/passwd", "../outside", "a/../b",
					  "a//b", "./a", "a/.",		"a/",	      ".."};
	struct fixture *f = *state;
	struct source_object o = {0};
	uint8_t byte;
	char longest[2048];

	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	write_file(f, "outside", "secret");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(source_stat(f->source, bad[i], &o, NULL), -EINVAL);
		assert_int_equal(source_read(f->source, bad[i], NULL, 0, 1, &byte, NULL), -EINVAL);
		assert_int_equal(source_put(f->source, bad[i], "x", 1, NULL), -EINVAL);
		assert_int_equal(source_remove(f->source, bad[i], NULL), -EINVAL);
	}
	assert_int_equal(source_put(f->source, longest, "x", 1, NULL), -EINVAL);
	longest[300] = '\0';
	assert_int_equal(source_put(f->source, longest, "x", 1, NULL), -ENAMETOOLONG);
	assert_int_equal(source_put(f->source, ".sealedfs-0123456789abcdef.part", "x", 1, NULL),
			 -EINVAL);
	assert_int_equal(count_entries(f, "in"), 0);
}

static void follows_no_links(void **state)
{
	struct fixture *f = *state;
	struct source_listing l = {0};
	struct error err = {0};
	char link[256];
	uint8_t byte;

	write_file(f, "outside", "secret");
	path_of(f, "in/link", link);
	assert_int_equal(symlink("../outside", link), 0);
	path_of(f, "in/dir", link);
	assert_int_equal(symlink("..", link), 0);
	path_of(f, "in/fifo", link);
	assert_int_equal(mkfifo(link, 0600), 0);
	assert_int_equal(source_read(f->source, "link", NULL, 0, 1, &byte, &err), -ELOOP);
	assert_non_null(strstr(err.message, "symbolic link"));
	assert_int_equal(source_read(f->source, "dir/outside", NULL, 0, 1, &byte, NULL), -ENOTDIR);
	assert_int_equal(source_put(f->source, "dir/new", "x", 1, NULL), -ENOTDIR);
	err = (struct error){0};
	assert_int_equal(source_read(f->source, "fifo", NULL, 0, 1, &byte, &err), -EMEDIUMTYPE);
	assert_non_null(strstr(err.message, "it is no regular file"));
	assert_int_equal(source_list(f->source, NULL, &l, NULL), 0);
	assert_int_equal(l.count, 0);
	source_listing_clear(&l);
	/* A write replaces the link, not what it points to. */
	assert_int_equal(source_put(f->source, "link", "new", 3, NULL), 0);
	assert_int_equal(source_read(f->source, "link", NULL, 0, 1, &byte, NULL), 0);
	assert_int_equal(byte, 'n');
}

static void lists_in_byte_order(void **state)
{
	static const char *const names[] = {"a-b", "a.seal", "a/x", "a/y/z", "b", "\xc3\xa9"};
	struct fixture *f = *state;
	struct source_listing l = {0};

	for (size_t i = ARRAY_LEN(names); i-- > 0;)
		assert_int_equal(source_put(f->source, names[i], "xyz", i % 3, NULL), 0);
	write_file(f, "in/.sealedfs-0123456789abcdef.part", "left behind");
	assert_int_equal(source_list(f->source, NULL, &l, NULL), 0);
	assert_int_equal(l.count, ARRAY_LEN(names));
	for (size_t i = 0; i < l.count; i++) {
		struct source_object o = {0};

		assert_string_equal(l.objects[i].name, names[i]);
		assert_int_equal(l.objects[i].size, i % 3);
		assert_int_equal(source_stat(f->source, names[i], &o, NULL), 0);
		assert_string_equal(l.objects[i].version, o.version);
		assert_int_equal(l.objects[i].mtime_ns, o.mtime_ns);
		source_object_clear(&o);
	}
	source_listing_clear(&l);
}

static void notices_a_replaced_file(void **state)
{
	struct fixture *f = *state;
	struct error err = {0};
	struct source_object o = {0};
	uint8_t byte;
	char path[256];

	assert_int_equal(source_put(f->source, "m", "old", 3, NULL), 0);
	assert_int_equal(source_stat(f->source, "m", &o, NULL), 0);
	path_of(f, "in/m", path);
	assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(source_read(f->source, "m", o.version, 0, 1, &byte, NULL), 0);
	assert_int_equal(source_put(f->source, "m", "new", 3, NULL), 0);
	assert_int_equal(source_read(f->source, "m", o.version, 0, 1, &byte, &err), -ESTALE);
	assert_non_null(strstr(err.message, "/m changed"));
	source_object_clear(&o);
}

static void puts_only_over_what_was_seen(void **state)
{
	struct fixture *f = *state;
	struct source_object o = {0};
	struct error err = {0};
	uint8_t byte;

	assert_int_equal(source_put_if(f->source, "d/s", "", "one", 3, NULL), 0);
	assert_int_equal(source_put_if(f->source, "d/s", "", "two", 3, NULL), -EEXIST);
	assert_int_equal(source_stat(f->source, "d/s", &o, NULL), 0);
	assert_int_equal(source_put_if(f->source, "d/s", o.version, "three", 5, NULL), 0);
	assert_int_equal(source_put_if(f->source, "d/s", o.version, "four", 4, &err), -ESTALE);
	assert_non_null(strstr(err.message, "/d/s was changed by another writer"));
	assert_int_equal(source_read(f->source, "d/s", NULL, 1, 1, &byte, NULL), 0);
	assert_int_equal(byte, 'h');
	assert_int_equal(source_remove(f->source, "d/s", NULL), 0);
	assert_int_equal(source_put_if(f->source, "d/s", o.version, "five", 4, NULL), -ESTALE);
	assert_int_equal(count_entries(f, "in/d"), 0);
	source_object_clear(&o);
}

static void writer_publishes_at_commit(void **state)
{
	struct fixture *f = *state;
	struct source_writer *w = NULL;
	struct source_object o = {0};
	uint8_t *data = calloc(1, EXTENT), byte;

	memset(data, 'p', EXTENT);
	assert_int_equal(source_writer_new(f->source, "d/big", 2 * EXTENT + 5, EXTENT, &w, NULL),
			 0);
	assert_int_equal(source_writer_part(w, 2, "tail!", 5, NULL), 0);
	assert_int_equal(source_writer_part(w, 0, data, EXTENT, NULL), 0);
	assert_int_equal(source_writer_commit(w, NULL), -EINVAL); /* part 1 is missing */
	assert_int_equal(source_stat(f->source, "d/big", &o, NULL), -ENOENT);
	assert_int_equal(source_writer_part(w, 1, data, EXTENT, NULL), 0);
	assert_int_equal(source_writer_commit(w, NULL), 0);
	source_writer_free(w);
	assert_int_equal(source_stat(f->source, "d/big", &o, NULL), 0);
	assert_int_equal(o.size, 2 * EXTENT + 5);
	source_object_clear(&o);
	assert_int_equal(source_read(f->source, "d/big", NULL, 2 * EXTENT + 4, 1, &byte, NULL), 0);
	assert_int_equal(byte, '!');
	assert_int_equal(count_entries(f, "in/d"), 1);
	free(data);
}

/* Past the page cache where memory lies right, through it where not, and the odd tail always. */
static void every_byte_lands_wherever_it_lay(void **state)
{
	struct fixture *f = *state;
	size_t tail = ((size_t)1 << 20) + 4096 + 7, size = EXTENT + tail;
	uint8_t *room = aligned_alloc(4096, EXTENT + 8192), *back = malloc(size);
	uint8_t *want = malloc(size);

	assert_true(room && back && want);
	for (size_t i = 0; i < size; i++)
		want[i] = (uint8_t)(i * 7 + i / 4096);
	for (size_t shift = 0; shift < 2; shift++) {
		struct source_writer *w = NULL;

		assert_int_equal(source_writer_new(f->source, "m", size, EXTENT, &w, NULL), 0);
		memcpy(room + shift, want + EXTENT, tail);
		assert_int_equal(source_writer_part(w, 1, room + shift, tail, NULL), 0);
		memcpy(room + shift, want, EXTENT);
		assert_int_equal(source_writer_part(w, 0, room + shift, EXTENT, NULL), 0);
		assert_int_equal(source_writer_commit(w, NULL), 0);
		source_writer_free(w);
		assert_int_equal(source_read(f->source, "m", NULL, 0, size, back, NULL), 0);
		assert_memory_equal(back, want, size);
	}
	free(room);
	free(back);
	free(want);
}

static void abandoned_writer_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	struct source_writer *w = NULL;

	assert_int_equal(source_writer_new(f->source, "x/y/big", 5, EXTENT, &w, NULL), 0);
	assert_int_equal(source_writer_part(w, 0, "hello", 5, NULL), 0);
	source_writer_free(w);
	assert_int_equal(count_entries(f, "in"), 0);
	source_writer_free(NULL);
}

static void writer_refuses_wrong_parts(void **state)
{
	struct fixture *f = *state;
	struct source_writer *w = NULL;

	assert_int_equal(source_writer_new(f->source, "m", 5, 4096, &w, NULL), -EINVAL);
	assert_int_equal(source_writer_new(f->source, "m", 5, 0, &w, NULL), -EINVAL);
	assert_int_equal(source_writer_new(f->source, "m", UINT64_MAX, EXTENT, &w, NULL), -EINVAL);
	assert_int_equal(source_writer_new(f->source, "m", 5, EXTENT, &w, NULL), 0);
	assert_int_equal(source_writer_part(w, 0, "four", 4, NULL), -EINVAL);
	assert_int_equal(source_writer_part(w, 1, "hello", 5, NULL), -EINVAL);
	source_writer_free(w);
	assert_int_equal(source_writer_new(f->source, "m", 0, EXTENT, &w, NULL), 0);
	assert_int_equal(source_writer_commit(w, NULL), 0);
	source_writer_free(w);
}

static void directory_must_exist_unless_made(void **state)
{
	struct fixture *f = *state;
	struct source *s = NULL;
	struct error err = {0};
	char path[256];

	path_of(f, "new/deep", path);
	assert_int_equal(source_open(path, NULL, false, &s, &err), -ENOENT);
	assert_non_null(strstr(err.message, path));
	assert_int_equal(source_open(path, NULL, true, &s, NULL), 0);
	source_free(s);
	write_file(f, "file", "x");
	path_of(f, "file", path);
	assert_int_equal(source_open(path, NULL, true, &s, NULL), -ENOTDIR);
	assert_int_equal(source_open("", NULL, true, &s, NULL), -EINVAL);
	assert_int_equal(source_open("s3://bucket/prefix", NULL, true, &s, NULL), -EINVAL);
}

static void describes_objects(void **state)
{
	struct fixture *f = *state;
	char path[256];
	_cleanup_free_ char *text = source_describe(f->source, "a/b");

	path_of(f, "in/a/b", path);
	assert_string_equal(text, path);
	assert_true(source_spec_is_s3("s3://b"));
	assert_false(source_spec_is_s3("./s3://b"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(puts_and_reads, setup, teardown),
		cmocka_unit_test_setup_teardown(empty_object_is_an_object, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_names, setup, teardown),
		cmocka_unit_test_setup_teardown(follows_no_links, setup, teardown),
		cmocka_unit_test_setup_teardown(lists_in_byte_order, setup, teardown),
		cmocka_unit_test_setup_teardown(notices_a_replaced_file, setup, teardown),
		cmocka_unit_test_setup_teardown(writer_publishes_at_commit, setup, teardown),
		cmocka_unit_test_setup_teardown(every_byte_lands_wherever_it_lay, setup, teardown),
		cmocka_unit_test_setup_teardown(abandoned_writer_leaves_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(writer_refuses_wrong_parts, setup, teardown),
		cmocka_unit_test_setup_teardown(directory_must_exist_unless_made, setup, teardown),
		cmocka_unit_test_setup_teardown(puts_only_over_what_was_seen, setup, teardown),
		cmocka_unit_test_setup_teardown(describes_objects, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
