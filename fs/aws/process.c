/*
 * credential_process. Job: start the program that the user's own profile names, and read keys from
 * its standard output. Trusts the program as the user does. Must never pass it to a shell, give it
 * our descriptors or our piped input, wait for it without limit, leave it behind as a zombie, or
 * put its output into a message: it contains a secret key.
 */
#include "fs/aws/process.h"

#include "crypto/base/clock.h"
#include "crypto/base/json.h"
#include "fs/aws/words.h"
#include "fs/net/http.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_SIZE_MAX 65536
#define POLL_MS 50
/* Between SIGTERM and SIGKILL. */
#define LAST_WORDS_MS 1000

struct child {
	struct http_client *http; /* whose cancellation ends the wait */
	const char *name;
	uint64_t deadline_ms;
	pid_t pid;
	int from; /* its standard output */
};

/* Standard input stays if a person can answer there; else it may be data that is ours to read. */
static int set_files(posix_spawn_file_actions_t *files, int output)
{
	int r = posix_spawn_file_actions_adddup2(files, output, STDOUT_FILENO);

	if (r == 0 && !isatty(STDIN_FILENO))
		r = posix_spawn_file_actions_addopen(files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
#ifdef __GLIBC__ /* Ours close themselves; this is for what the caller left open. */
	if (r == 0)
		r = posix_spawn_file_actions_addclosefrom_np(files, STDERR_FILENO + 1);
#endif
	return r;
}

/* With the signals of a program that a shell started. */
static int spawn(char **argv, int output, pid_t *ret)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	sigset_t none, all;
	int r;

	sigemptyset(&none);
	sigfillset(&all);
	r = posix_spawn_file_actions_init(&files);
	if (r)
		return -r;
	r = posix_spawnattr_init(&attributes);
	if (r) {
		posix_spawn_file_actions_destroy(&files);
		return -r;
	}
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &all);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	r = set_files(&files, output);
	if (r == 0)
		r = posix_spawnp(ret, argv[0], &files, &attributes, argv, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&files);
	return -r;
}

static int start(struct child *c, char **argv, struct error *err)
{
	struct sigaction old;
	int pipes[2], r;

	/* If our parent left SIGCHLD ignored, the program's exit status would be lost. */
	if (sigaction(SIGCHLD, NULL, &old) == 0 && old.sa_handler == SIG_IGN)
		(void)signal(SIGCHLD, SIG_DFL);
	if (pipe2(pipes, O_CLOEXEC) < 0)
		return error_set(err, -errno, "cannot make a pipe: %s", strerror(errno));
	r = spawn(argv, pipes[1], &c->pid);
	close(pipes[1]);
	c->from = pipes[0];
	if (r == 0)
		return 0;
	close(c->from);
	return error_set(err, r == -ENOMEM ? r : -EINVAL, "cannot start %.200s: %s", c->name,
			 strerror(-r));
}

static bool has_ended(const struct child *c)
{
	siginfo_t info = {0};

	return waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       info.si_pid == c->pid;
}

/* 0 while it may be waited for. */
static int check_time(const struct child *c)
{
	if (http_client_wait(c->http, 0) < 0)
		return -ECANCELED;
	return monotonic_ms() < c->deadline_ms ? 0 : -ETIMEDOUT;
}

/* Until the end of its output. A process that it left behind may hold the pipe open: its own end is
 * enough. */
static int read_output(const struct child *c, char *out, size_t size, size_t *ret)
{
	struct pollfd ready = {.fd = c->from, .events = POLLIN};
	size_t used = 0;

	for (;;) {
		bool ended = has_ended(c);
		int n = poll(&ready, 1, ended ? 0 : POLL_MS), r = check_time(c);
		ssize_t got;

		if (r < 0)
			return r;
		if (n == 0 && ended)
			break;
		if (n <= 0)
			continue;
		got = read(c->from, out + used, size - used);
		if (got < 0 && errno != EINTR)
			return -errno;
		if (got == 0)
			break;
		used += (size_t)MAX(got, 0);
		if (used == size)
			return -E2BIG;
	}
	*ret = used;
	return 0;
}

/* Waits for its end. Ends it at the deadline, or at once if r is an error. Returns r or why the
 * wait ended. */
static int finish(const struct child *c, int r, int *ret_status)
{
	int status = 0;

	while (r == 0 && !has_ended(c)) {
		(void)http_client_wait(c->http, POLL_MS);
		r = check_time(c);
	}
	if (r < 0 && !has_ended(c)) {
		uint64_t end_ms = monotonic_ms() + LAST_WORDS_MS;

		(void)kill(c->pid, SIGTERM);
		while (!has_ended(c) && monotonic_ms() < end_ms)
			(void)poll(NULL, 0, POLL_MS);
		(void)kill(c->pid, SIGKILL);
	}
	while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
		;
	*ret_status = status;
	return r;
}

static int report(const struct child *c, int r, int status, struct error *err)
{
	if (r == -ECANCELED)
		return error_set(err, r, "%.200s was stopped", c->name);
	if (r == -ETIMEDOUT)
		return error_set(err, r, "%.200s did not end in time", c->name);
	if (r < 0)
		return error_set(err, -EIO, "%.200s printed no JSON", c->name);
	if (WIFSIGNALED(status))
		return error_set(err, -EIO, "%.200s was ended by signal %d", c->name,
				 WTERMSIG(status));
	if (WEXITSTATUS(status) != 0)
		return error_set(err, -EIO, "%.200s ended with %d", c->name, WEXITSTATUS(status));
	return 0;
}

/* Its output as text in out[size]. */
static int run(struct child *c, char **argv, char *out, size_t size, struct error *err)
{
	size_t used = 0;
	int r = start(c, argv, err), status = 0;

	if (r < 0)
		return r;
	r = read_output(c, out, size - 1, &used);
	close(c->from);
	r = finish(c, r, &status);
	if (r == 0 && memchr(out, '\0', used))
		r = -EPROTO;
	return report(c, r, status, err);
}

static int parse(const char *text, struct credentials **ret, struct error *err)
{
	_cleanup_json_ json_t *object = json_object_parse(text, strlen(text));
	const struct credentials_answer answer = {.id = json_text(object, "AccessKeyId"),
						  .key = json_text(object, "SecretAccessKey"),
						  .token = json_text(object, "SessionToken"),
						  .expiration = json_text(object, "Expiration"),
						  .may_be_permanent = true};
	struct error last = {0};
	int r;

	if (!object || json_integer_value(json_object_get(object, "Version")) != 1)
		return error_set(err, -EIO, "its output is not JSON with \"Version\": 1");
	r = credentials_from_answer(&answer, "credential_process", ret, &last);
	if (r == -EREMOTEIO)
		r = -EIO;
	return r < 0 ? error_set(err, r, "%s", error_text(&last, r)) : 0;
}

int process_credentials(struct http_client *http, const char *command, unsigned timeout_ms,
			struct credentials **ret, struct error *err)
{
	_cleanup_free_ char **argv = NULL;
	struct child child = {.http = http, .deadline_ms = monotonic_ms() + timeout_ms};
	size_t count = 0;
	char *output;
	int r = words_split(command, &argv, &count);

	if (r < 0 || count == 0)
		return error_set(err, r == -ENOMEM ? r : -EINVAL,
				 "credential_process: a quote has no end, or there is no command");
	output = calloc(1, OUTPUT_SIZE_MAX);
	if (!output)
		return error_set(err, -ENOMEM, "out of memory for keys");
	child.name = argv[0];
	r = run(&child, argv, output, OUTPUT_SIZE_MAX, err);
	if (r == 0)
		r = parse(output, ret, err);
	wipe(output, OUTPUT_SIZE_MAX);
	free(output);
	return r < 0 ? error_prefix(err, r, "credential_process") : 0;
}
