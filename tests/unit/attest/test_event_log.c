/*
 * The measurement log without a TPM: records, replay, every state that a dead writer can leave,
 * and files that must not be used.
 */
#include "tests/unit/test.h"

#include "attest/event_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

struct fixture {
	char dir[64], path[96], intent[112];
	char boot[EVENT_BOOT_ID_SIZE];
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	snprintf(f->dir, sizeof(f->dir), "/tmp/test_event_log.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/log", f->dir);
	snprintf(f->intent, sizeof(f->intent), "%s.intent", f->path);
	assert_int_equal(event_boot_id(f->boot, NULL), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	unlink(f->path);
	unlink(f->intent);
	rmdir(f->dir);
	free(f);
	return 0;
}

static struct pcr_values two_banks(unsigned pcr, uint8_t fill)
{
	struct pcr_values v = {.pcr = pcr, .bank_count = 2};

	v.banks[0].alg = DIGEST_SHA256;
	v.banks[1].alg = DIGEST_SHA384;
	memset(v.banks[0].value, fill, 32);
	memset(v.banks[1].value, fill, 48);
	return v;
}

static struct measure_event event_of(enum measure_mode mode, const char *name)
{
	struct measure_event e = {.mode = mode, .name = name};

	memset(e.digests.verity, 0x11, 32);
	memset(e.digests.sha256, 0x22, 32);
	memset(e.digests.sha384, 0x33, 48);
	return e;
}

/* A record that extends fill in both banks; before: -1 none, else the fill of the start value. */
static size_t make(const struct fixture *f, unsigned pcr, uint8_t fill, int before,
		   const char *boot, uint8_t **ret)
{
	struct measure_event e = event_of(MEASURE_VERITY, "dir/model.gguf");
	struct event_content content = {.model = &e};
	struct pcr_values digests = two_banks(pcr, fill);
	struct pcr_values start = two_banks(pcr, (uint8_t)before);
	size_t size = 0;

	assert_int_equal(event_record_encode(&content, &digests, before < 0 ? NULL : &start,
					     boot ? boot : f->boot, ret, &size, NULL),
			 0);
	return size;
}

static void append(const char *path, const void *data, size_t size)
{
	FILE *file = fopen(path, "ab");

	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, size, file), size);
	fclose(file);
	assert_int_equal(chmod(path, 0600), 0);
}

static void append_record(const struct fixture *f, unsigned pcr, uint8_t fill, int before,
			  const char *boot)
{
	uint8_t *record = NULL;
	size_t size = make(f, pcr, fill, before, boot, &record);

	append(f->path, record, size);
	free(record);
}

static size_t file_size(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return (size_t)st.st_size;
}

static mode_t file_mode(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_mode & 07777;
}

/* The replayed value of PCR 15, checked against extending by fills from `start`. */
static void assert_replay(struct event_log *l, bool known, int start, const uint8_t *fills,
			  size_t count)
{
	struct pcr_values wanted = two_banks(15, (uint8_t)start), got = two_banks(15, 0xee);
	bool is_known = !known;

	for (size_t n = 0; n < count; n++) {
		struct pcr_values d = two_banks(15, fills[n]);

		for (size_t b = 0; b < 2; b++)
			assert_int_equal(pcr_extend_value(d.banks[b].alg, wanted.banks[b].value,
							  d.banks[b].value),
					 0);
	}
	assert_int_equal(event_log_replay(l, &got, &is_known, NULL), 0);
	assert_int_equal(is_known, known);
	assert_true(pcr_values_equal(&got, &wanted));
}

static void test_record(void **state)
{
	struct fixture *f = *state;
	struct measure_event e = event_of(MEASURE_DECLARED, "bad \xff\xfe name\n\"\x1e");
	struct event_content content = {.model = &e};
	struct pcr_values digests = two_banks(15, 0xab), before = two_banks(15, 0);
	struct event_record r;
	uint8_t *bytes = NULL;
	size_t size = 0, used = 0;

	assert_int_equal(
		event_record_encode(&content, &digests, &before, f->boot, &bytes, &size, NULL), 0);
	assert_int_equal(bytes[0], 0x1e);
	assert_int_equal(bytes[size - 1], '\n');
	assert_ptr_equal(memchr(bytes, '\n', size), bytes + size - 1);
	assert_null(memchr(bytes + 1, 0x1e, size - 1));
	assert_int_equal(event_record_decode(bytes, size, &r, &used), 1);
	assert_int_equal(used, size);
	assert_true(r.kind == EVENT_MODEL && r.has_before);
	assert_int_equal(r.mode, MEASURE_DECLARED);
	assert_string_equal(r.boot_id, f->boot);
	assert_true(pcr_values_equal(&r.digests, &digests));
	assert_true(pcr_values_equal(&r.before, &before));
	for (size_t n = 1; n < size; n++)
		assert_int_equal(event_record_decode(bytes, n, &r, &used), -ENODATA);
	free(bytes);
}

static void test_start_record(void **state)
{
	struct fixture *f = *state;
	struct event_content content = {.start = "sealedfs:start:measure=verity,set=off"};
	struct pcr_values digests = two_banks(14, 0xab);
	struct event_log *l = NULL;
	struct event_record r;
	uint8_t *bytes = NULL;
	size_t size = 0, used = 0;

	assert_int_equal(
		event_record_encode(&content, &digests, NULL, f->boot, &bytes, &size, NULL), 0);
	assert_non_null(memmem(bytes, size, "\"eventType\":\"start\"", 19));
	assert_non_null(memmem(bytes, size, content.start, strlen(content.start)));
	assert_int_equal(event_record_decode(bytes, size, &r, &used), 1);
	assert_int_equal(r.kind, EVENT_START);
	assert_false(r.has_before);
	assert_true(pcr_values_equal(&r.digests, &digests));
	append(f->path, bytes, size);
	assert_int_equal(event_log_open(f->path, &l, NULL), 0);
	assert_true(event_log_has(l, EVENT_START, MEASURE_NONE, &digests));
	/* A start event is no model, whatever its digest. */
	assert_false(event_log_has(l, EVENT_MODEL, MEASURE_VERITY, &digests));
	event_log_free(l);
	free(bytes);
}

static void test_record_refused(void **state)
{
	static const char *const bad[] = {
		"{}\n", /* no separator */
		"\x1e\n",
		"\x1e{\n",
		"\x1e[]\n",
		"\x1e{}\n",
		"\x1e{\"pcr\":15,\"digests\":[],\"content_type\":\"x\"}\n",
		"\x1e{\"pcr\":32,\"digests\":[{\"hashAlg\":\"sha1\",\"digest\":\"\"}],"
		"\"content_type\":\"x\"}\n",
		"\x1e{\"pcr\":\"15\",\"digests\":[],\"content_type\":\"x\"}\n",
		"\x1e{\"pcr\":1,\"digests\":[{\"hashAlg\":\"sha256\",\"digest\":\"00\"}],"
		"\"content_type\":\"x\"}\n",
		"\x1e{\"pcr\":1,\"digests\":[{\"hashAlg\":\"sha1\"}],\"content_type\":\"x\"}\n",
		"\x1e{\"pcr\":1,\"pcr\":1,\"digests\":[{\"hashAlg\":\"x\",\"digest\":\"\"}],"
		"\"content_type\":\"x\"}\n",
		"\x1e{\"pcr\":1,\"digests\":[{\"hashAlg\":\"x\",\"digest\":\"\"}],"
		"\"content_type\":\"io.sealedfs\"}\n",
		"\x1e{\"pcr\":1,\"digests\":[{\"hashAlg\":\"x\",\"digest\":\"\"}],"
		"\"content_type\":\"io.sealedfs\",\"content\":{\"eventType\":\"model\",\"mode\":"
		"\"none\",\"bootId\":\"00000000000000000000000000000000\"}}\n",
	};
	struct event_record r;
	size_t used;

	for (size_t n = 0; n < ARRAY_LEN(bad); n++)
		if (event_record_decode((const uint8_t *)bad[n], strlen(bad[n]), &r, &used) !=
		    -EPROTO)
			fail_msg("case %zu was not refused", n);
}

static void test_foreign_records_pass(void **state)
{
	static const char nv[] = "\x1e{\"nvIndexName\":\"x\",\"digests\":[],\"content_type\":"
				 "\"systemd\",\"content\":{}}\n";
	static const char machine[] =
		"\x1e{\"pcr\":15,\"digests\":[{\"hashAlg\":\"sha1\",\"digest\":"
		"\"da39a3ee5e6b4b0d3255bfef95601890afd80709\"},{\"hashAlg\":\"sm3_256\","
		"\"digest\":\"00\"}],\"content_type\":\"systemd\",\"content\":{\"string\":"
		"\"machine-id:1\"}}\n";
	struct event_record r;
	size_t used = 0;

	assert_int_equal(event_record_decode((const uint8_t *)nv, strlen(nv), &r, &used), 0);
	assert_int_equal(used, strlen(nv));
	assert_int_equal(event_record_decode((const uint8_t *)machine, strlen(machine), &r, &used),
			 1);
	assert_int_equal(r.kind, EVENT_OTHER);
	assert_int_equal(r.digests.bank_count, 1);
	assert_int_equal(r.digests.banks[0].alg, DIGEST_SHA1);
}

static void test_new_file(void **state)
{
	struct fixture *f = *state;
	struct event_log *l = NULL;

	assert_int_equal(event_log_open(f->path, &l, NULL), 0);
	assert_int_equal(file_mode(f->path), 0600);
	assert_false(event_log_interrupted(l));
	assert_null(event_log_intent(l));
	assert_replay(l, false, 0, NULL, 0);
	event_log_free(l);
}

static void test_replay(void **state)
{
	struct fixture *f = *state;
	struct pcr_values seen = two_banks(15, 0x02), unseen = two_banks(15, 0x04);
	static const uint8_t fills[] = {1, 2, 3};
	struct event_log *l = NULL;

	append_record(f, 15, 9, 0, "00000000000000000000000000000000"); /* another boot */
	append_record(f, 15, 1, 0, NULL);
	append_record(f, 14, 7, 0, NULL); /* another PCR */
	append_record(f, 15, 2, -1, NULL);
	append_record(f, 15, 3, -1, NULL);
	assert_int_equal(event_log_open(f->path, &l, NULL), 0);
	assert_replay(l, true, 0, fills, 3);
	assert_true(event_log_has(l, EVENT_MODEL, MEASURE_VERITY, &seen));
	assert_false(event_log_has(l, EVENT_MODEL, MEASURE_SHA384, &seen));
	assert_false(event_log_has(l, EVENT_MODEL, MEASURE_VERITY, &unseen));
	event_log_free(l);
}

static void test_chains(void **state)
{
	struct fixture *f = *state;
	struct pcr_values first = two_banks(15, 1), third = two_banks(15, 3);
	static const uint8_t last[] = {3, 4};
	static const uint8_t foreign[] = {4};
	struct event_log *l = NULL;

	append_record(f, 15, 1, 0, NULL);
	append_record(f, 15, 2, -1, NULL);
	append_record(f, 15, 3, 0, NULL); /* the TPM was reset */
	append_record(f, 15, 4, -1, NULL);
	assert_int_equal(event_log_open(f->path, &l, NULL), 0);
	assert_replay(l, true, 0, last, 2);
	assert_false(event_log_has(l, EVENT_MODEL, MEASURE_VERITY, &first));
	assert_true(event_log_has(l, EVENT_MODEL, MEASURE_VERITY, &third));
	event_log_free(l);

	unlink(f->path);
	append_record(f, 15, 3, 0, NULL);
	append_record(f, 15, 4, 0x77, NULL); /* a foreign value was allowed */
	assert_int_equal(event_log_open(f->path, &l, NULL), 0);
	assert_replay(l, true, 0x77, foreign, 1);
	/* What is in front of the foreign value is not shown by the PCR any more. */
	assert_false(event_log_has(l, EVENT_MODEL, MEASURE_VERITY, &third));
	event_log_free(l);
}

static void test_missing_bank(void **state)
{
	struct fixture *f = *state;
	struct pcr_values v = two_banks(15, 0);
	struct event_log *l = NULL;
	struct error err = {0};
	bool known;

	append_record(f, 15, 1, 0, NULL);
	assert_int_equal(event_log_open(f->path, &l, NULL), 0);
	v.banks[v.bank_count++].alg = DIGEST_SHA512;
	assert_int_equal(event_log_replay(l, &v, &known, &err), -EPROTO);
	assert_non_null(strstr(err.message, "lacks a bank"));
	event_log_free(l);
}

static void test_protocol(void **state)
{
	struct fixture *f = *state;
	static const uint8_t fills[] = {5};
	struct event_log *l = NULL;
	uint8_t *record = NULL;
	size_t size = make(f, 15, 5, 0, NULL, &record);

	assert_int_equal(event_log_open(f->path, &l, NULL), 0);
	assert_int_equal(event_log_commit(l, NULL), -EINVAL); /* nothing announced */
	assert_int_equal(event_log_begin(l, record, size, NULL), 0);
	assert_int_equal(file_mode(f->path), 01600);
	assert_int_equal(file_size(f->intent), size);
	assert_int_equal(file_size(f->path), 0);
	assert_int_equal(event_log_commit(l, NULL), 0);
	assert_int_equal(file_mode(f->path), 0600);
	assert_int_equal(file_size(f->path), size);
	assert_int_equal(access(f->intent, F_OK), -1);
	assert_replay(l, true, 0, fills, 1);
	event_log_free(l);
	assert_int_equal(event_log_open(f->path, &l, NULL), 0);
	assert_false(event_log_interrupted(l));
	assert_replay(l, true, 0, fills, 1);
	event_log_free(l);
	free(record);
}

/* The states that a death leaves; what measure_model() makes of them is tested on a TPM. */
static void test_after_death(void **state)
{
	struct fixture *f = *state;
	static const uint8_t two[] = {1, 2};
	struct event_log *l = NULL;
	uint8_t *record = NULL;
	size_t size, first;

	append_record(f, 15, 1, 0, NULL);
	first = file_size(f->path);
	size = make(f, 15, 2, -1, NULL, &record);
	append(f->intent, record, size);

	/* announced, or announced and marked */
	for (int marked = 0; marked < 2; marked++) {
		assert_int_equal(chmod(f->path, marked ? 01600 : 0600), 0);
		assert_int_equal(event_log_open(f->path, &l, NULL), 0);
		assert_true(event_log_interrupted(l));
		assert_non_null(event_log_intent(l));
		assert_false(event_log_intent_is_logged(l));
		assert_replay(l, true, 0, two, 1);
		event_log_free(l);
	}
	/* a part of the record was written: every possible part */
	for (size_t n = 1; n < size; n++) {
		assert_int_equal(truncate(f->path, (off_t)first), 0);
		append(f->path, record, n);
		assert_int_equal(chmod(f->path, 01600), 0);
		assert_int_equal(event_log_open(f->path, &l, NULL), 0);
		assert_true(event_log_interrupted(l));
		assert_false(event_log_intent_is_logged(l));
		assert_int_equal(event_log_commit(l, NULL), 0);
		assert_replay(l, true, 0, two, 2);
		event_log_free(l);
		assert_int_equal(file_size(f->path), first + size);
		assert_int_equal(access(f->intent, F_OK), -1);
		append(f->intent, record, size);
	}
	/* all of it was written */
	assert_int_equal(event_log_open(f->path, &l, NULL), 0);
	assert_true(event_log_intent_is_logged(l));
	assert_int_equal(event_log_abandon(l, NULL), 0);
	event_log_free(l);
	assert_int_equal(file_size(f->path), first + size);
	assert_int_equal(file_mode(f->path), 0600);
	free(record);
}

static void test_damaged(void **state)
{
	struct fixture *f = *state;
	struct event_log *l = NULL;
	struct error err = {0};
	uint8_t *record = NULL;
	size_t size = make(f, 15, 1, 0, NULL, &record);

	/* cut short, and nobody announced it */
	append(f->path, record, size - 3);
	assert_int_equal(event_log_open(f->path, &l, &err), -EPROTO);
	assert_non_null(strstr(err.message, "cut short"));
	assert_int_equal(chmod(f->path, 01600), 0);
	assert_int_equal(event_log_open(f->path, &l, NULL), -EPROTO);
	/* cut short, and something else was announced */
	record[size / 2] ^= 1;
	append(f->intent, record, size);
	error_clear(&err);
	assert_true(event_log_open(f->path, &l, &err) == -EPROTO);
	unlink(f->intent);
	/* nonsense in the middle */
	record[size / 2] ^= 1;
	unlink(f->path);
	append(f->path, record, size);
	append(f->path, "garbage\n", 8);
	append(f->path, record, size);
	error_clear(&err);
	assert_int_equal(event_log_open(f->path, &l, &err), -EPROTO);
	assert_non_null(strstr(err.message, "malformed"));
	assert_non_null(strstr(err.hint, "reboot"));
	/* an intent that nobody could have written */
	unlink(f->path);
	append(f->intent, record, size - 1);
	error_clear(&err);
	assert_int_equal(event_log_open(f->path, &l, &err), -EPROTO);
	assert_non_null(strstr(err.message, ".intent is damaged"));
	assert_null(l);
	free(record);
}

static void test_files_not_used(void **state)
{
	struct fixture *f = *state;
	struct event_log *l = NULL;
	char other[128];

	/* others can write it */
	append_record(f, 15, 1, 0, NULL);
	assert_int_equal(chmod(f->path, 0620), 0);
	assert_int_equal(event_log_open(f->path, &l, NULL), -EPERM);
	/* a second name */
	assert_int_equal(chmod(f->path, 0600), 0);
	snprintf(other, sizeof(other), "%s/other", f->dir);
	assert_int_equal(link(f->path, other), 0);
	assert_int_equal(event_log_open(f->path, &l, NULL), -EPERM);
	/* a symbolic link */
	unlink(f->path);
	assert_int_equal(symlink(other, f->path), 0);
	assert_int_equal(event_log_open(f->path, &l, NULL), -ELOOP);
	unlink(f->path);
	unlink(other);
	/* a directory that others can write to */
	assert_int_equal(chmod(f->dir, 0777), 0);
	assert_int_equal(event_log_open(f->path, &l, NULL), -EPERM);
	assert_int_equal(chmod(f->dir, 01777), 0);
	assert_int_equal(event_log_open(f->path, &l, NULL), 0);
	event_log_free(l);
	l = NULL;
	/* not a path, no folder to make it in */
	assert_int_equal(event_log_open("log", &l, NULL), -EINVAL);
	assert_int_equal(event_log_open("/nonexistent/a/log", &l, NULL), -ENOENT);
	/* too large to be one */
	assert_int_equal(truncate(f->path, (4 << 20) + 1), 0);
	assert_int_equal(event_log_open(f->path, &l, NULL), -EFBIG);
	assert_null(l);
	event_log_free(NULL);
}

/* While one process has the log open, another waits for it. */
static void test_lock(void **state)
{
	struct fixture *f = *state;
	struct event_log *l = NULL;
	int pipe_fd[2], status;
	char c;
	pid_t pid;

	assert_int_equal(pipe(pipe_fd), 0);
	assert_int_equal(event_log_open(f->path, &l, NULL), 0);
	pid = fork();
	if (pid == 0) {
		struct event_log *theirs = NULL;
		int fd = open(f->path, O_RDWR | O_CLOEXEC);
		/* A lock of another open file: refused now, granted after the parent's free. */
		bool held = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;

		event_log_free(l); /* the inherited descriptor, not the parent's lock */
		if (write(pipe_fd[1], held ? "h" : "f", 1) != 1)
			_exit(2);
		_exit(event_log_open(f->path, &theirs, NULL) == 0 ? 0 : 1);
	}
	assert_true(pid > 0);
	assert_int_equal(read(pipe_fd[0], &c, 1), 1);
	assert_int_equal(c, 'h');
	assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
	event_log_free(l);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
}

static void test_foreign_log(void **state)
{
	struct fixture *f = *state;
	struct pcr_values v = two_banks(15, 0xee), wanted = two_banks(15, 0);
	struct pcr_values d = two_banks(15, 6);

	assert_int_equal(event_log_replay_foreign(f->path, &v), -ENOENT);
	append_record(f, 14, 6, -1, NULL);
	assert_int_equal(event_log_replay_foreign(f->path, &v), -ENOENT);
	append_record(f, 15, 6, -1, NULL);
	assert_int_equal(event_log_replay_foreign(f->path, &v), 0);
	for (size_t b = 0; b < 2; b++)
		assert_int_equal(
			pcr_extend_value(d.banks[b].alg, wanted.banks[b].value, d.banks[b].value),
			0);
	assert_true(pcr_values_equal(&v, &wanted));
	append(f->path, "x", 1);
	assert_int_equal(event_log_replay_foreign(f->path, &v), -EPROTO);
}

/* Records that name one bank, or another: each bank has what its records lead to. */
static void test_foreign_log_by_banks(void **state)
{
	static const char only256[] =
		"\x1e{\"pcr\":15,\"digests\":[{\"hashAlg\":\"sha256\",\"digest\":"
		"\"0606060606060606060606060606060606060606060606060606060606060606\"}],"
		"\"content_type\":\"systemd\",\"content\":{\"string\":\"machine-id:1\"}}\n";
	struct fixture *f = *state;
	struct pcr_values v = two_banks(15, 0xee), wanted = two_banks(15, 0);
	struct pcr_values d = two_banks(15, 6), more = two_banks(15, 7);

	append(f->path, only256, sizeof(only256) - 1);
	assert_int_equal(pcr_extend_value(DIGEST_SHA256, wanted.banks[0].value, d.banks[0].value),
			 0);
	assert_int_equal(event_log_replay_foreign(f->path, &v), 0);
	assert_true(pcr_values_equal(&v, &wanted));
	append_record(f, 15, 7, -1, NULL);
	for (size_t b = 0; b < 2; b++)
		assert_int_equal(pcr_extend_value(d.banks[b].alg, wanted.banks[b].value,
						  more.banks[b].value),
				 0);
	assert_int_equal(event_log_replay_foreign(f->path, &v), 0);
	assert_true(pcr_values_equal(&v, &wanted));
}

#define WITH_FIXTURE(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FIXTURE(test_record),
		WITH_FIXTURE(test_start_record),
		cmocka_unit_test(test_record_refused),
		cmocka_unit_test(test_foreign_records_pass),
		WITH_FIXTURE(test_new_file),
		WITH_FIXTURE(test_replay),
		WITH_FIXTURE(test_chains),
		WITH_FIXTURE(test_missing_bank),
		WITH_FIXTURE(test_protocol),
		WITH_FIXTURE(test_after_death),
		WITH_FIXTURE(test_damaged),
		WITH_FIXTURE(test_files_not_used),
		WITH_FIXTURE(test_lock),
		WITH_FIXTURE(test_foreign_log),
		WITH_FIXTURE(test_foreign_log_by_banks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
