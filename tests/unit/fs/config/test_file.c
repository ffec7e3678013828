/* fs/config_file: a strict parser; who may have written the file; names of credentials. */
#include "fs/config/file.h"

#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

struct taken {
	char text[512];
};

static int take(void *arg, const char *key, const char *value, struct error *err)
{
	struct taken *t = arg;
	size_t n = strlen(t->text);

	if (strcmp(key, "bad") == 0)
		return error_set(err, -EINVAL, "no %s here", value);
	(void)snprintf(t->text + n, sizeof(t->text) - n, "<%s|%s>", key, value);
	return 0;
}

static int parse(const char *text, struct taken *t, struct error *err)
{
	_cleanup_free_ char *copy = strdup(text);

	*t = (struct taken){{0}};
	return config_file_parse("x.conf", copy, take, t, err);
}

static void test_accepted(void **state)
{
	static const struct {
		const char *text, *taken;
	} cases[] = {
		{"", ""},
		{"\n\n  \t\n", ""},
		{"# a = b\n; a = b\n   # c = d\n", ""},
		{"a=b", "<a|b>"},
		{"a = b\nc=d\n", "<a|b><c|d>"},
		{"  a\t=\t b c \t\n", "<a|b c>"},
		{"a = b # no comment here", "<a|b # no comment here>"},
		{"a = b = c", "<a|b = c>"},
		{"a = \"b\"", "<a|\"b\">"},
		{"a = b\r\nc = d\r\n", "<a|b><c|d>"}, /* an editor from elsewhere */
		{"allow_other = yes\nkey-file = /k,/l\n", "<allow_other|yes><key-file|/k,/l>"},
		{"a = s3://b/\xc3\xa4", "<a|s3://b/\xc3\xa4>"},
	};
	struct taken t;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(parse(cases[i].text, &t, NULL), 0);
		assert_string_equal(t.text, cases[i].taken);
	}
}

static void test_refused_with_the_line(void **state)
{
	static const struct {
		const char *text, *word;
	} cases[] = {
		{"a", "x.conf:1: not of the form"},
		{"\n\na b\n", "x.conf:3: not of the form"},
		{"[section]\n", "x.conf:1: sections are not supported"},
		{"a = b\n[section]\n", "x.conf:2: sections are not supported"},
		{"a = b\n\na = b\n", "x.conf:3: a is already set in line 1"},
		{"a =\n", "x.conf:1: a has no value"},
		{"a = \t \n", "x.conf:1: a has no value"},
		{"= b\n", "x.conf:1: not a key"},
		{"a b = c\n", "x.conf:1: not a key"},
		{"\xc3\xa4 = c\n", "x.conf:1: not a key"},
		{"a.b = c\n", "x.conf:1: not a key"},
		{"c = d\nbad = thing\n", "x.conf:2: no thing here"},
		{"a = b \\\n  c\n", "x.conf:2: not of the form"}, /* no continuation lines */
	};
	struct taken t;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct error err = {0};

		assert_int_equal(parse(cases[i].text, &t, &err), -EINVAL);
		if (!strstr(error_text(&err, -EINVAL), cases[i].word))
			fail_msg("\"%s\" is not in: %s", cases[i].word, error_text(&err, -EINVAL));
	}
}

static void test_too_many_keys(void **state)
{
	char text[16 * (CONFIG_FILE_KEYS_MAX + 1)] = "";
	struct error err = {0};
	size_t used = 0;
	struct taken t;

	for (unsigned i = 0; i < CONFIG_FILE_KEYS_MAX; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "k%u = v\n", i);
	assert_int_equal(parse(text, &t, &err), 0);
	(void)snprintf(text + used, sizeof(text) - used, "more = v\n");
	assert_int_equal(parse(text, &t, &err), -EINVAL);
	assert_non_null(strstr(error_text(&err, -EINVAL), "more than 64 keys"));
}

static void write_file(const char *path, const void *data, size_t size)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, size), size);
	assert_int_equal(fchmod(fd, 0644), 0);
}

static void assert_not_read(const char *path, const char *word)
{
	struct error err = {0};
	struct taken t = {{0}};

	assert_int_equal(config_file_read(path, take, &t, &err), -EINVAL);
	if (!strstr(error_text(&err, -EINVAL), word))
		fail_msg("\"%s\" is not in: %s", word, error_text(&err, -EINVAL));
	assert_string_equal(t.text, "");
}

static void test_file(void **state)
{
	char dir[] = "/tmp/sealedfs-conf.XXXXXX", path[64];
	_cleanup_free_ char *big = calloc(1, CONFIG_FILE_SIZE_MAX + 1);
	struct taken t = {{0}};

	assert_non_null(mkdtemp(dir));
	assert_not_read(dir, "is not a file");
	(void)snprintf(path, sizeof(path), "%s/a.conf", dir);
	assert_not_read(path, "cannot read the configuration");
	write_file(path, "a = b\n", 6);
	assert_int_equal(config_file_read(path, take, &t, NULL), 0);
	assert_string_equal(t.text, "<a|b>");
	assert_int_equal(chmod(path, 0646), 0);
	assert_not_read(path, "can be changed by other users");
	write_file(path, "a = b\0c = d\n", 12);
	assert_not_read(path, "zero byte");
	memset(big, '\n', CONFIG_FILE_SIZE_MAX + 1);
	write_file(path, big, CONFIG_FILE_SIZE_MAX);
	assert_int_equal(config_file_read(path, take, &t, NULL), 0);
	write_file(path, big, CONFIG_FILE_SIZE_MAX + 1);
	assert_not_read(path, "is larger than");
	assert_int_equal(unlink(path), 0);
	/* A pipe that nobody writes to must not hold a boot up. */
	assert_int_equal(mkfifo(path, 0644), 0);
	assert_not_read(path, "is not a file");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0);
}

static void test_instance(void **state)
{
	static const struct {
		const char *path, *name;
	} cases[] = {
		{"/etc/sealedfs/models.conf", "models"},
		{"a.b.conf", "a.b"},
		{"/etc/sealedfs/models", NULL},
		{"/etc/sealedfs/.conf", NULL},
		{"/etc/x.conf/models", NULL},
		{"", NULL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		_cleanup_free_ char *name = NULL;

		assert_int_equal(config_file_instance(cases[i].path, &name),
				 cases[i].name ? 0 : -EINVAL);
		if (cases[i].name)
			assert_string_equal(name, cases[i].name);
	}
}

static void test_credential(void **state)
{
	static const char *const bad[] = {"credential:", "credential:.", "credential:..",
					  "credential:../shadow", "credential:a/b"};
	struct error err = {0};
	char *path = NULL;

	(void)setenv("CREDENTIALS_DIRECTORY", "/run/credentials/x", 1);
	assert_int_equal(config_credential_path("credential:team", &path, NULL), 0);
	assert_string_equal(path, "/run/credentials/x/team");
	free(path);
	assert_int_equal(config_credential_path("/etc/credential:team", &path, NULL), 0);
	assert_string_equal(path, "/etc/credential:team");
	free(path);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(config_credential_path(bad[i], &path, NULL), -EINVAL);
	(void)setenv("CREDENTIALS_DIRECTORY", "relative", 1);
	assert_int_equal(config_credential_path("credential:team", &path, NULL), -EINVAL);
	(void)unsetenv("CREDENTIALS_DIRECTORY");
	assert_int_equal(config_credential_path("credential:team", &path, &err), -EINVAL);
	assert_non_null(strstr(err.hint, "LoadCredential=team:"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accepted),      cmocka_unit_test(test_refused_with_the_line),
		cmocka_unit_test(test_too_many_keys), cmocka_unit_test(test_file),
		cmocka_unit_test(test_instance),      cmocka_unit_test(test_credential),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
