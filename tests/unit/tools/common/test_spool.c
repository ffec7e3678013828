/* tools/spool and input: what went in comes out, nothing readable lies on the disk. */
#include "tests/unit/test.h"
#include "tools/common/input.h"
#include "tools/common/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CHUNK ((size_t)SEAL_CHUNK_SIZE)

static void fill(uint8_t *data, size_t size, unsigned seed)
{
	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)(i * 31 + i / 251 + seed);
}

/* The one open file of ours that lies in $TMPDIR. */
static int find_spool_fd(const char *folder)
{
	for (int fd = 3; fd < 64; fd++) {
		char link[64], target[512];
		ssize_t n;

		(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		n = readlink(link, target, sizeof(target) - 1);
		if (n > 0 && strncmp(target, folder, strlen(folder)) == 0)
			return fd;
	}
	return -1;
}

static int setup(void **state)
{
	char *folder = strdup("/tmp/test-spool-XXXXXX");

	*state = mkdtemp(folder);
	return *state && setenv("TMPDIR", folder, 1) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
	int r = rmdir(*state); /* fails if anything is left */

	unsetenv("TMPDIR");
	free(*state);
	return r;
}

static void keeps_chunks(void **state)
{
	_cleanup_(spool_freep) struct spool *s = NULL;
	uint8_t *data = malloc(CHUNK), *back = malloc(CHUNK);
	size_t sizes[] = {CHUNK, CHUNK, 7}, n = 0;

	assert_int_equal(spool_new(&s, NULL), 0);
	for (unsigned i = 0; i < 3; i++) {
		fill(data, sizes[i], i);
		assert_int_equal(spool_append(s, data, sizes[i], NULL), 0);
	}
	assert_int_equal(spool_length(s), 2 * CHUNK + 7);
	assert_int_equal(spool_append(s, data, 1, NULL), -EINVAL); /* after a short one */
	for (unsigned i = 3; i-- > 0;) {
		assert_int_equal(spool_read(s, i, back, &n, NULL), 0);
		assert_int_equal(n, sizes[i]);
		fill(data, sizes[i], i);
		assert_memory_equal(back, data, n);
	}
	assert_int_equal(spool_read(s, 3, back, &n, NULL), 0);
	assert_int_equal(n, 0);
	free(data);
	free(back);
}

static void file_is_ciphertext_and_guarded(void **state)
{
	_cleanup_(spool_freep) struct spool *s = NULL;
	uint8_t *data = calloc(1, CHUNK), *raw = malloc(2 * CHUNK);
	struct error err = {0};
	size_t n = 0;
	int fd;

	assert_int_equal(spool_new(&s, NULL), 0);
	for (int i = 0; i < 2; i++) {
		memset(data, 'p', CHUNK);
		assert_int_equal(spool_append(s, data, CHUNK, NULL), 0);
	}
	fd = find_spool_fd(*state);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, raw, 2 * CHUNK, 0), 2 * CHUNK);
	assert_null(memmem(raw, 2 * CHUNK, "pppppppp", 8));
	assert_memory_not_equal(raw, raw + CHUNK + 16, CHUNK - 16);
	/* Chunk 1 in the place of chunk 0: another nonce. */
	assert_int_equal(pread(fd, raw, CHUNK + 16, CHUNK + 16), CHUNK + 16);
	assert_int_equal(pwrite(fd, raw, CHUNK + 16, 0), CHUNK + 16);
	assert_int_equal(spool_read(s, 0, data, &n, &err), -EBADMSG);
	assert_int_equal(spool_read(s, 1, data, &n, NULL), 0);
	assert_int_equal(ftruncate(fd, CHUNK + 20), 0);
	assert_int_equal(spool_read(s, 1, data, &n, NULL), -EBADMSG);
	free(data);
	free(raw);
}

static void refuses_folders(void **state)
{
	struct spool *s = NULL;
	struct error err = {0};

	setenv("TMPDIR", "/nonexistent", 1);
	assert_int_equal(spool_new(&s, &err), -ENOENT);
	assert_non_null(strstr(err.message, "/nonexistent"));
	assert_non_null(strstr(err.hint, "--length"));
	spool_free(NULL);
	setenv("TMPDIR", *state, 1);
}

static void input_can_be_cancelled(void **state)
{
	_cleanup_(input_freep) struct input *in = NULL;
	char path[128];
	uint8_t byte;
	size_t n = 0;

	(void)snprintf(path, sizeof(path), "%s/fifo", (const char *)*state);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(input_open(path, &in, NULL), 0);
	assert_true(input_length(in) == INPUT_LENGTH_UNKNOWN);
	input_cancel(in);
	assert_int_equal(input_read(in, &byte, 1, &n, NULL), -EINTR);
	unlink(path);
}

static void input_refuses(void **state)
{
	struct input *in = NULL;
	struct error err = {0};

	assert_int_equal(input_open(*state, &in, &err), -EISDIR);
	error_clear(&err);
	assert_int_equal(input_open("/nonexistent", &in, &err), -ENOENT);
	assert_null(in);
	input_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(keeps_chunks, setup, teardown),
		cmocka_unit_test_setup_teardown(file_is_ciphertext_and_guarded, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_folders, setup, teardown),
		cmocka_unit_test_setup_teardown(input_can_be_cancelled, setup, teardown),
		cmocka_unit_test_setup_teardown(input_refuses, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
