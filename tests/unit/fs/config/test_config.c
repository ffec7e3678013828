/* fs/config: what is understood, what is refused and with which words; --help knows every option.
 */
#include "fs/config/config.h"

#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

#define ARGS_MAX 32

/* Parses "sealedfs" and the words of line, split at blanks. */
static int parse(struct config *c, const char *line, struct error *err)
{
	static char copy[1024];
	char *argv[ARGS_MAX] = {(char *)(uintptr_t) "sealedfs"};
	int argc = 1;
	char *save = NULL;

	(void)snprintf(copy, sizeof(copy), "%s", line);
	for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
		argv[argc++] = word;
	return config_parse(c, argc, argv, err);
}

#define CHECKED(c, line)                                              \
	_cleanup_(config_clear) struct config c = {0};                \
	{                                                             \
		struct error e = {0};                                 \
		if (parse(&c, line, &e) < 0)                          \
			fail_msg("%s: %s", line, error_text(&e, -1)); \
	}

static void test_defaults(void **state)
{
	CHECKED(c, "s3://b/p /mnt");
	assert_int_equal(c.action, CONFIG_MOUNT);
	assert_string_equal(c.source, "s3://b/p");
	assert_string_equal(c.mountpoint, "/mnt");
	assert_false(c.foreground || c.debug || c.verbose);
	assert_int_equal(c.measure, MEASURE_VERITY);
	assert_int_equal(c.pcr, 15);
	assert_int_equal(c.ready, CONFIG_READY_OPEN);
	assert_false(c.allow_foreign_extend || c.path_style);
	assert_int_equal(c.attest, CONFIG_ATTEST_NITROTPM);
	assert_null(c.tcti);
	assert_null(c.event_log);
	assert_int_equal(c.memory_bytes, CONFIG_MEMORY_DEFAULT);
	assert_int_equal(c.crypto, CRYPTO_AUTO);
	assert_int_equal(c.fill, READ_FILL_AUTO);
	assert_int_equal(c.uid, geteuid());
	assert_int_equal(c.gid, getegid());
	assert_int_equal(c.mode, 0440);
	assert_int_equal(config_directory_mode(&c), 0550);
	assert_int_equal(c.owner_keys.count + c.keyfiles.count, 0);
}

/* A service and a store that was asked for are measured before anybody opens; another mount is not.
 */
static void test_what_is_ready_by_default(void **state)
{
	CHECKED(own, "a b");
	assert_int_equal(own.ready, CONFIG_READY_OPEN);
	CHECKED(store, "a b -o ollama=on");
	assert_int_equal(store.ready, CONFIG_READY_MEASURED);
	CHECKED(no_tpm, "a b -o ollama=on,measure=none");
	assert_int_equal(no_tpm.ready, CONFIG_READY_UNLOCKED);
	CHECKED(no_store, "a b -o ollama=off");
	assert_int_equal(no_store.ready, CONFIG_READY_OPEN);
	CHECKED(told, "a b -o ollama=on,ready=open");
	assert_int_equal(told.ready, CONFIG_READY_OPEN);
	assert_string_equal(config_word(&told, "ready"), "open");
	CHECKED(last, "a b -o ready=measured,ready=unlocked");
	assert_int_equal(last.ready, CONFIG_READY_UNLOCKED);
}

/* unlock= and measure-when= mean what they meant. */
static void test_old_options(void **state)
{
	static const struct {
		const char *options;
		enum config_ready want;
	} lines[] = {
		{"a b -o unlock=open", CONFIG_READY_OPEN},
		{"a b -o unlock=mount", CONFIG_READY_UNLOCKED},
		{"a b -o measure-when=open", CONFIG_READY_OPEN},
		{"a b -o measure-when=mount", CONFIG_READY_MEASURED},
		{"a b -o unlock=open,measure-when=mount", CONFIG_READY_MEASURED},
		{"a b -o unlock=mount,measure-when=mount,measure-when=open", CONFIG_READY_UNLOCKED},
		{"a b -o ollama=on,unlock=open", CONFIG_READY_OPEN},
		{"a b -o ollama=on,unlock=mount", CONFIG_READY_MEASURED},
		{"a b -o ollama=on,measure-when=open", CONFIG_READY_UNLOCKED},
	};

	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		CHECKED(c, lines[i].options);
		assert_int_equal(c.ready, lines[i].want);
	}
}

static void test_every_option(void **state)
{
	CHECKED(c,
		"-o owner-key=a.pub,owner-key=b.pub -o key-file=k1,key-file=k2 src -f -v dst "
		"-o measure=sha384,pcr=8,allow-foreign-extend,event-log=/run/x,ready=unlocked "
		"-o attest=nitrotpm,tcti=device:/dev/tpm0,region=eu-west-1,profile=p "
		"-o s3-endpoint=http://h:1,kms-endpoint=http://h:2,path-style,memory=64M,crypto=ipsec-mb,fill=all "
		"-o uid=5,gid=6,mode=0640,allow_other,fsname=F,subtype=T");
	assert_string_equal(c.source, "src");
	assert_string_equal(c.mountpoint, "dst");
	assert_true(c.foreground && c.verbose && !c.debug);
	assert_int_equal(c.owner_keys.count, 2);
	assert_string_equal(c.owner_keys.items[1], "b.pub");
	assert_int_equal(c.keyfiles.count, 2);
	assert_string_equal(c.keyfiles.items[0], "k1");
	assert_int_equal(c.measure, MEASURE_SHA384);
	assert_int_equal(c.pcr, 8);
	assert_true(c.allow_foreign_extend && c.path_style && c.allow_other);
	assert_string_equal(c.event_log, "/run/x");
	assert_string_equal(c.tcti, "device:/dev/tpm0");
	assert_string_equal(c.region, "eu-west-1");
	assert_string_equal(c.profile, "p");
	assert_string_equal(c.s3_endpoint, "http://h:1");
	assert_string_equal(c.kms_endpoint, "http://h:2");
	assert_int_equal(c.memory_bytes, 64 << 20);
	assert_int_equal(c.crypto, CRYPTO_IPSEC_MB);
	assert_int_equal(c.fill, READ_FILL_ALL);
	assert_int_equal(c.uid, 5);
	assert_int_equal(c.gid, 6);
	assert_int_equal(c.mode, 0640);
	assert_int_equal(config_directory_mode(&c), 0750);
	assert_string_equal(c.fsname, "F");
	assert_string_equal(c.subtype, "T");
	assert_int_equal(c.ready, CONFIG_READY_UNLOCKED);
}

/* What can only mean a set demands one. */
static void test_sets(void **state)
{
	CHECKED(none, "a b");
	assert_int_equal(none.set, CONFIG_SET_AUTO);
	assert_false(none.measure_given);
	assert_null(none.set_state);
	assert_int_equal(none.set_min_version, 0);
	assert_null(none.set_id);
	CHECKED(state_file, "a b -o set-state=/var/s");
	assert_string_equal(state_file.set_state, "/var/s");
	assert_int_equal(state_file.set, CONFIG_SET_AUTO);
	CHECKED(version, "a b -o set-min-version=4294967295");
	assert_int_equal(version.set_min_version, UINT32_MAX);
	assert_int_equal(version.set, CONFIG_SET_REQUIRE);
	CHECKED(measure, "a b -o measure=set");
	assert_int_equal(measure.set, CONFIG_SET_REQUIRE);
	assert_true(measure.measure_given);
	CHECKED(off, "a b -o set=off");
	assert_int_equal(off.set, CONFIG_SET_OFF);
	assert_string_equal(config_word(&off, "set"), "off");
}

static void test_commas_in_values(void **state)
{
	CHECKED(escaped, "a b -o tcti=swtpm:host=127.0.0.1\\,port=2321,pcr=7");
	assert_string_equal(escaped.tcti, "swtpm:host=127.0.0.1,port=2321");
	assert_int_equal(escaped.pcr, 7);
	CHECKED(long_option, "a b --tcti=swtpm:host=127.0.0.1,port=2321");
	assert_string_equal(long_option.tcti, "swtpm:host=127.0.0.1,port=2321");
	CHECKED(two_words, "a b --tcti swtpm:port=1,x=\\y");
	assert_string_equal(two_words.tcti, "swtpm:port=1,x=\\y");
	CHECKED(backslash, "a b -o event-log=a\\\\b\\,c,,profile=x,");
	assert_string_equal(backslash.event_log, "a\\b,c");
	assert_string_equal(backslash.profile, "x");
}

#define KEY_ID "key/1234abcd-12ab-34cd-56ef-1234567890ab"

static void test_pinned_keys_are_sorted(void **state)
{
	CHECKED(c, "a b -o kms-key=arn:aws:kms:us-east-1:111122223333:" KEY_ID
		   ",kms-key=account/444455556666,kms-key=account/111122223333/eu-west-1 -o "
		   "kms-key=account/444455556666");
	assert_int_equal(c.kms_keys.count, 3);
	assert_string_equal(c.kms_keys.items[0], "account/111122223333/eu-west-1");
	assert_string_equal(c.kms_keys.items[1], "account/444455556666");
	assert_string_equal(c.kms_keys.items[2], "arn:aws:kms:us-east-1:111122223333:" KEY_ID);
}

static void test_last_one_wins(void **state)
{
	CHECKED(c, "a b -o pcr=3,pcr=4 -o region=x -o region=y");
	assert_int_equal(c.pcr, 4);
	assert_string_equal(c.region, "y");
}

static void test_options_of_mount_and_systemd(void **state)
{
	CHECKED(c,
		"a b -o ro,nodev,nosuid,dev,suid,exec,async,relatime,_netdev,nofail,auto,noauto,"
		"user,user=joe,users,defaults,x-systemd.requires=net.target,x-gvfs-hide,"
		"default_permissions,comment=hi,lazytime,X-mount.mkdir=0755,noexec,noatime,nodiratime");
	assert_string_equal(c.mountpoint, "b");
}

static void test_sizes(void **state)
{
	static const struct {
		const char *line;
		size_t want;
	} good[] = {{"a b -o memory=33554432", 32 << 20},
		    {"a b -o memory=32768K", 32 << 20},
		    {"a b -o memory=1G", (size_t)1 << 30},
		    {"a b -o memory=64G", (size_t)64 << 30}};

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		CHECKED(c, good[i].line);
		assert_int_equal(c.memory_bytes, good[i].want);
	}
}

static void test_refused(void **state)
{
	static const struct {
		const char *line;
		const char *word; /* in the message */
	} bad[] = {
		{"", "source"},
		{"a", "source"},
		{"a b c", "more than"},
		{"a b -o", "-o"},
		{"a b -x", "-x"},
		{"a b --frobnicate", "--frobnicate"},
		{"a b -o frobnicate", "frobnicate"},
		{"a b -o owner-kay=x", "owner-kay"},
		{"a b -o Owner-key=x", "Owner-key"},
		{"a b -o owner_key=x", "owner_key"},
		{"a b -o owner-key", "owner-key"},
		{"a b -o owner-key=", "owner-key"},
		{"a b -o key-file", "key-file"},
		{"a b -o measure", "measure"},
		{"a b -o measure=", "measure"},
		{"a b -o measure=md5", "measure=md5"},
		{"a b -o measure=VERITY", "measure"},
		{"a b -o pcr=16", "pcr=16"},
		{"a b -o pcr=23", "pcr=23"},
		{"a b -o pcr=17", "pcr=17"},
		{"a b -o pcr=24", "pcr=24"},
		{"a b -o pcr=-1", "pcr=-1"},
		{"a b -o pcr=+1", "pcr=+1"},
		{"a b -o pcr=15x", "pcr=15x"},
		{"a b -o pcr=0x0f", "pcr"},
		{"a b -o pcr=18446744073709551631", "pcr"},
		{"a b -o pcr=", "pcr"},
		{"a b -o set=on", "must be auto, require or off"},
		{"a b -o set=off,measure=set", "set=off excludes"},
		{"a b -o set=off,set-min-version=1", "set=off excludes"},
		{"a b -o set=off,set-state=/x", "set=off excludes"},
		{"a b -o set=off,set-id=00", "set=off excludes"},
		{"a b -o set-id=00", "must be the 64 hex digits"},
		{"a b -o set-state=x", "must begin with /"},
		{"a b -o set-min-version=-1", "must be a number"},
		{"a b -o ready=never", "must be open, unlocked or measured"},
		{"a b -o ready=", "ready"},
		{"a b -o ready=measured,measure=none", "nothing would be measured"},
		{"a b -o unlock=never", "unlock=never"},
		{"a b -o measure-when=", "measure-when"},
		{"a b -o measure-when=boot", "measure-when=boot"},
		{"a b -o measure-when=mount,measure=none", "nothing would be measured"},
		{"a b -o ready=open,unlock=open", "use ready alone"},
		{"a b -o attest=sgx", "attest=sgx"},
		{"a b -o attest=none,tcti=device:/dev/no-tpm", "no TPM"},
		{"a b -o memory=31M", "memory=31M"},
		{"a b -o memory=65G", "memory=65G"},
		{"a b -o memory=1T", "memory"},
		{"a b -o memory=M", "memory"},
		{"a b -o memory=1MM", "memory"},
		{"a b -o memory=-1G", "memory"},
		{"a b -o memory=18014398509481984K", "memory"},
		{"a b -o crypto=aes", "crypto=aes"},
		{"a b -o crypto=", "crypto"},
		{"a b -o fill=some", "fill=some"},
		{"a b -o fill=", "fill"},
		{"a b -o fill", "fill"},
		{"a b -o crypto", "crypto"},
		{"a b -o crypto=OpenSSL", "crypto"},
		{"a b -o uid=joe", "uid"},
		{"a b -o uid=4294967295", "uid"},
		{"a b -o gid=-1", "gid"},
		{"a b -o mode=0888", "mode"},
		{"a b -o mode=4444", "mode"},
		{"a b -o mode=r--r--r--", "mode"},
		{"a b -o allow_other=1", "allow_other"},
		{"a b -o path-style=yes", "path-style"},
		{"a b -o allow_other,allow_root", "allow_root"},
		{"a b -o rw", "read-only"},
		{"a b -o direct_io", "direct_io"},
		{"a b -o remount", "remount"},
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		_cleanup_(config_clear) struct config c = {0};
		struct error err = {0};
		int r = parse(&c, bad[i].line, &err);

		if (r != -EINVAL || !strstr(err.message, bad[i].word))
			fail_msg("\"%s\": %d, %s", bad[i].line, r, err.message);
		assert_int_equal(error_exit_code(r), EXIT_CODE_USAGE);
	}
}

static void test_empty_arguments(void **state)
{
	char *argv[] = {(char *)(uintptr_t) "sealedfs", (char *)(uintptr_t) "",
			(char *)(uintptr_t) "/mnt"};
	_cleanup_(config_clear) struct config c = {0};

	assert_int_equal(config_parse(&c, 3, argv, NULL), -EINVAL);
}

static void test_help_and_version_need_nothing_else(void **state)
{
	CHECKED(help, "--help");
	assert_int_equal(help.action, CONFIG_HELP);
	CHECKED(short_help, "a -h");
	assert_int_equal(short_help.action, CONFIG_HELP);
	CHECKED(version, "-V");
	assert_int_equal(version.action, CONFIG_VERSION);
	CHECKED(debug, "a b -d");
	assert_true(debug.debug && debug.foreground);
}

static void test_help_names_every_option(void **state)
{
	static const char *const names[] = {
		"owner-key=",
		"key-file=",
		"kms-key=",
		"allow-http=",
		"measure=",
		"pcr=",
		"allow-foreign-extend",
		"event-log=",
		"ready=",
		"attest=",
		"tcti=",
		"region=",
		"profile=",
		"s3-endpoint=",
		"kms-endpoint=",
		"path-style",
		"memory=",
		"crypto=",
		"uid=",
		"gid=",
		"mode=",
		"allow_other",
		"allow_root",
		"fsname=",
		"subtype=",
		"-f,",
		"-d,",
		"-v,",
		"-V,",
		"-h,",
	};
	_cleanup_free_ char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	config_print_help(out);
	fclose(out);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (!strstr(text, names[i]))
			fail_msg("--help does not know %s", names[i]);
	for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1)
		assert_true(end - line <= 110);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_what_is_ready_by_default),
		cmocka_unit_test(test_old_options),
		cmocka_unit_test(test_every_option),
		cmocka_unit_test(test_sets),
		cmocka_unit_test(test_commas_in_values),
		cmocka_unit_test(test_pinned_keys_are_sorted),
		cmocka_unit_test(test_last_one_wins),
		cmocka_unit_test(test_options_of_mount_and_systemd),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_empty_arguments),
		cmocka_unit_test(test_help_and_version_need_nothing_else),
		cmocka_unit_test(test_help_names_every_option),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
