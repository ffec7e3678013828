/* fs/aws/process: what a credential_process gets of us, and that it cannot hold us up. */
#include "fs/aws/process.h"

#include "crypto/base/clock.h"
#include "fs/net/http.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEYS \
	"echo \"{\\\"Version\\\":1,\\\"AccessKeyId\\\":\\\"A\\\",\\\"SecretAccessKey\\\":\\\"s\\\"}\""

/* Runs a shell with the script. Nothing may be left to wait for. */
static int run(const char *script, unsigned timeout_ms, struct error *err)
{
	_cleanup_(http_client_freep) struct http_client *http = NULL;
	_cleanup_(credentials_unrefp) struct credentials *c = NULL;
	_cleanup_free_ char *command = NULL;
	int r;

	assert_int_equal(http_client_new(&http), 0);
	assert_true(asprintf(&command, "sh -c '%s'", script) > 0);
	r = process_credentials(http, command, timeout_ms, &c, err);
	if (r == 0)
		assert_string_equal(c->access_key_id, "A");
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	return r;
}

static void hanging_programs_end(void **state)
{
	/* With its output open, with it closed, and deaf to SIGTERM. */
	static const char *const scripts[] = {"exec sleep 600", "exec sleep 600 >&-",
					      "trap \"\" TERM; while :; do sleep 1; done"};

	for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
		uint64_t start_ms = monotonic_ms();
		struct error err = {0};

		assert_int_equal(run(scripts[i], 200, &err), -ETIMEDOUT);
		assert_non_null(strstr(err.message, "in time"));
		assert_true(monotonic_ms() - start_ms < 300000);
	}
}

/* An agent that the program starts keeps its standard output; the keys count all the same. */
static void processes_left_behind(void **state)
{
	uint64_t start_ms = monotonic_ms();

	assert_int_equal(run("sleep 600 2>/dev/null & " KEYS, 300000, NULL), 0);
	assert_true(monotonic_ms() - start_ms < 250000);
}

static void piped_input_stays_ours(void **state)
{
	int pipes[2], saved = dup(STDIN_FILENO);
	char line[8] = "";

	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(write(pipes[1], "data", 4), 4);
	close(pipes[1]);
	assert_true(dup2(pipes[0], STDIN_FILENO) >= 0);
	assert_int_equal(run("cat >/dev/null; " KEYS, 30000, NULL), 0);
	assert_int_equal(read(STDIN_FILENO, line, sizeof(line)), 4);
	dup2(saved, STDIN_FILENO);
	close(saved);
	close(pipes[0]);
}

static void no_descriptor_is_inherited(void **state)
{
	int fd = open("/dev/null", O_RDONLY); /* without O_CLOEXEC, as a library might */
	char script[256];

	assert_true(fd > STDERR_FILENO);
	(void)snprintf(script, sizeof(script), "test ! -e /proc/self/fd/%d && " KEYS, fd);
	assert_int_equal(run(script, 30000, NULL), 0);
	close(fd);
}

/* The exit status counts, also if our parent ignored SIGCHLD. */
static void ignored_sigchld(void **state)
{
	(void)signal(SIGCHLD, SIG_IGN);
	assert_int_equal(run(KEYS "; exit 3", 30000, NULL), -EIO);
	(void)signal(SIGCHLD, SIG_IGN);
	assert_int_equal(run(KEYS, 30000, NULL), 0);
	(void)signal(SIGCHLD, SIG_DFL);
}

static void too_much_output(void **state)
{
	struct error err = {0};

	assert_int_equal(run("yes; exec sleep 60", 30000, &err), -EIO);
	assert_non_null(strstr(err.message, "no JSON"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hanging_programs_end),
		cmocka_unit_test(processes_left_behind),
		cmocka_unit_test(piped_input_stays_ours),
		cmocka_unit_test(no_descriptor_is_inherited),
		cmocka_unit_test(ignored_sigchld),
		cmocka_unit_test(too_much_output),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
