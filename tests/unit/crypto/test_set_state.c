/* crypto/set_state: versions never go back, whatever happens to the file. */
#include "crypto/set_state.h"

#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static char dir[64], path[96], temporary[96], locked[96];

static int set_up(void **state)
{
	(void)snprintf(dir, sizeof(dir), "/tmp/sealedfs-state.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/sets", dir);
	(void)snprintf(temporary, sizeof(temporary), "%s/.sets.new", dir);
	(void)snprintf(locked, sizeof(locked), "%s/.sets.lock", dir);
	return 0;
}

static int tear_down(void **state)
{
	(void)unlink(path);
	(void)unlink(temporary);
	(void)unlink(locked);
	return rmdir(dir);
}

static int accept_set(uint8_t id, uint64_t version, uint8_t digest, struct error *err)
{
	struct set_seen now = {.version = version};

	memset(now.id, id, sizeof(now.id));
	memset(now.digest, digest, sizeof(now.digest));
	return set_state_accept(path, &now, "the set", err);
}

static void refused(uint8_t id, uint64_t version, uint8_t digest, int code, const char *words)
{
	struct error err = {0};

	assert_int_equal(accept_set(id, version, digest, &err), code);
	if (!strstr(err.message, words))
		fail_msg("%s, not: %s", err.message, words);
}

static void write_file(const char *text, size_t size, mode_t mode)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, size, f), size);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static size_t read_file(char *text, size_t size)
{
	FILE *f = fopen(path, "re");
	size_t n;

	assert_non_null(f);
	n = fread(text, 1, size - 1, f);
	text[n] = '\0';
	assert_int_equal(fclose(f), 0);
	return n;
}

static void versions_only_rise(void **state)
{
	struct stat st;

	assert_int_equal(accept_set(7, 3, 1, NULL), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(accept_set(7, 3, 1, NULL), 0);
	refused(7, 3, 2, -EBADMSG, "another content");
	refused(7, 2, 1, -EBADMSG, "it has version 2");
	refused(7, 0, 1, -EBADMSG, "has seen version 3");
	assert_int_equal(accept_set(7, UINT64_MAX - 1, 1, NULL), 0);
	refused(7, UINT64_MAX - 2, 1, -EBADMSG, "has seen version 18446744073709551614");
}

static void sets_are_kept_apart(void **state)
{
	char text[1024];

	assert_int_equal(accept_set(9, 1, 1, NULL), 0);
	assert_int_equal(accept_set(1, 5, 1, NULL), 0);
	assert_int_equal(accept_set(4, 2, 1, NULL), 0);
	refused(1, 4, 1, -EBADMSG, "has seen version 5");
	refused(9, 0, 1, -EBADMSG, "has seen version 1");
	read_file(text, sizeof(text));
	assert_memory_equal(text, "sealedfs-set-state-v1\n0101", 26);
	assert_non_null(strstr(text, "\n0404"));
	assert_non_null(strstr(text, "\n0909"));
}

/* Whatever is in the file, nothing is begun anew over it. */
static void damaged_files_are_refused(void **state)
{
	char good[1024], bad[1024];
	size_t size;

	assert_int_equal(accept_set(1, 5, 1, NULL), 0);
	assert_int_equal(accept_set(2, 6, 1, NULL), 0);
	size = read_file(good, sizeof(good));
	for (size_t cut = 0; cut < size; cut++) {
		if (cut > 0 && good[cut - 1] == '\n')
			continue; /* a file of fewer sets */
		write_file(good, cut, 0600);
		refused(1, 9, 1, -EPROTO, "damaged");
	}
	for (size_t i = 0; i < size; i++) {
		memcpy(bad, good, size);
		bad[i] = '\xff';
		write_file(bad, size, 0600);
		refused(1, 9, 1, -EPROTO, "damaged");
	}
	memcpy(bad, good, size);
	memcpy(bad + size, strchr(good, '\n') + 1, 40);
	write_file(bad, size + 40, 0600);
	refused(1, 9, 1, -EPROTO, "damaged");
	(void)snprintf(bad, sizeof(bad), "%s%s", good, strchr(good, '\n') + 1);
	write_file(bad, strlen(bad), 0600);
	refused(1, 9, 1, -EPROTO, "damaged");
}

static void others_must_not_write_it(void **state)
{
	struct stat st;

	assert_int_equal(accept_set(1, 5, 1, NULL), 0);
	assert_int_equal(chmod(path, 0620), 0);
	refused(1, 6, 1, -EINVAL, "can be changed by other users");
	assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(chmod(dir, 0777), 0);
	refused(1, 6, 1, -EINVAL, "can be changed by other users");
	assert_int_equal(chmod(dir, 0700), 0);
	assert_int_equal(accept_set(1, 6, 1, NULL), 0);
	assert_int_equal(stat(locked, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	/* Nor put it, or a lock that is never given back, where there is none yet. */
	(void)unlink(path);
	(void)unlink(locked);
	assert_int_equal(chmod(dir, 0777), 0);
	refused(1, 6, 1, -EINVAL, "can be changed by other users");
	assert_int_equal(access(locked, F_OK), -1);
	assert_int_equal(chmod(dir, 0755), 0);
	assert_int_equal(accept_set(1, 6, 1, NULL), 0);
}

static void dead_writers_and_missing_folders(void **state)
{
	close(open(temporary, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(accept_set(1, 5, 1, NULL), 0);
	assert_int_equal(access(temporary, F_OK), -1);
	(void)snprintf(path, sizeof(path), "%s/none/sets", dir);
	refused(1, 5, 1, -ENOENT, "cannot open its folder");
	(void)snprintf(path, sizeof(path), "%s/sets", dir);
}

static void what_was_written(void **state)
{
	struct set_seen next = {.version = 1};
	uint8_t old[SET_STATE_ID_SIZE];
	char text[1024];

	memset(next.id, 8, sizeof(next.id));
	memset(next.digest, 1, sizeof(next.digest));
	memset(old, 7, sizeof(old));
	assert_int_equal(set_state_check(path, NULL), 0);
	assert_int_equal(accept_set(7, 3, 1, NULL), 0);
	assert_int_equal(set_state_written(path, &next, old, NULL), 0);
	refused(7, 3, 1, -EBADMSG, "replaced it by the set 0808");
	refused(7, UINT64_MAX - 1, 1, -EBADMSG, "an older set was put back");
	assert_int_equal(accept_set(8, 1, 1, NULL), 0);
	read_file(text, sizeof(text));
	assert_non_null(strstr(text, "0707 replaced 0808"));
	/* Somebody else wrote the next version before this one was recorded. */
	assert_int_equal(accept_set(8, 3, 1, NULL), 0);
	next.version = 2;
	assert_int_equal(set_state_written(path, &next, NULL, NULL), 0);
	refused(8, 2, 1, -EBADMSG, "has seen version 3");
	/* Also one that was never seen here. */
	memset(old, 6, sizeof(old));
	assert_int_equal(set_state_written(path, &next, old, NULL), 0);
	refused(6, 1, 1, -EBADMSG, "replaced");
	write_file("x", 1, 0600);
	assert_int_equal(set_state_check(path, NULL), -EPROTO);
	assert_int_equal(set_state_written(path, &next, NULL, NULL), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(versions_only_rise, set_up, tear_down),
		cmocka_unit_test_setup_teardown(sets_are_kept_apart, set_up, tear_down),
		cmocka_unit_test_setup_teardown(damaged_files_are_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(others_must_not_write_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_was_written, set_up, tear_down),
		cmocka_unit_test_setup_teardown(dead_writers_and_missing_folders, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
