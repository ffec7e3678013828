/* What leaves the programs: no byte that could forge a line, drive a terminal or hide text. */
#include "crypto/base/log.h"
#include "crypto/base/printable.h"
#include "tests/unit/test.h"

#include <string.h>

/* Line ends, ESC, a C1 control, direction marks, bytes that are not UTF-8, quotes. */
#define HOSTILE                    \
	"a\nb\x1B[2J\r\tc\xC2\x9B" \
	"d\x7F"                    \
	"\xE2\x80\xAE\xE2\x81\xA6\xFF\xC3\"\\"
#define HOSTILE_LINE \
	"a\\x0ab\\x1b[2J\\x0d\\x09c\\xc2\\x9bd\\x7f\\xe2\\x80\\xae\\xe2\\x81\\xa6\\xff\\xc3"

static void lines(void **state)
{
	char out[PRINTABLE_GROWTH * 64 + 1];

	size_t n = printable_text(HOSTILE, strlen(HOSTILE), out);

	assert_int_equal(n, strlen(out));
	assert_string_equal(out, HOSTILE_LINE "\"\\");
	/* What was made printable stays as it is. */
	n = printable_text(HOSTILE_LINE, strlen(HOSTILE_LINE), out);
	assert_int_equal(n, strlen(out));
	assert_string_equal(out, HOSTILE_LINE);
}

static void print(FILE *to, const char *text)
{
	print_safely(to, "\nname: %s\n", text);
	print_safely(to, "%s", "part\n");
	print_safely(to, "%s %d\n\n", text, 5);
}

static void formats_keep_their_own_line_ends(void **state)
{
	char *text = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&text, &size);

	print(to, HOSTILE);
	(void)fclose(to);
	assert_string_equal(text, "\nname: " HOSTILE_LINE "\"\\\n"
				  "part\\x0a" HOSTILE_LINE "\"\\ 5\n\n");
	free(text);
}

static void long_lines_are_whole(void **state)
{
	char long_text[10000], *text = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&text, &size);

	memset(long_text, 0x1B, sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	print_safely(to, "%s\n", long_text);
	(void)fclose(to);
	assert_int_equal(size, 4 * (sizeof(long_text) - 1) + 1);
	assert_null(strchr(text, 0x1B));
	free(text);
}

/* What stderr gets of a message; the caller frees it. */
static char *logged(const char *message)
{
	FILE *old = stderr;
	char *text = NULL;
	size_t size = 0;

	stderr = open_memstream(&text, &size);
	log_setup("test", LOG_NOTICE, false);
	log_notice("%s", message);
	(void)fclose(stderr);
	stderr = old;
	return text;
}

static void the_log_is_a_line(void **state)
{
	char long_text[4000], *text = logged(HOSTILE);

	assert_string_equal(text, "test: " HOSTILE_LINE "\"\\\n");
	free(text);
	memset(long_text, 1, sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	text = logged(long_text);
	assert_null(strchr(text, 1));
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
	free(text);
}

static void random_bytes(void **state)
{
	uint64_t random = 88172645463325252U; /* xorshift64 */

	for (int round = 0; round < 20000; round++) {
		char in[200], out[PRINTABLE_GROWTH * sizeof(in) + 1];
		size_t size = (size_t)round % sizeof(in), n, written;
		uint32_t c = 0;

		for (size_t i = 0; i < size; i++) {
			random ^= random << 13;
			random ^= random >> 7;
			random ^= random << 17;
			in[i] = (char)random;
		}
		written = printable_text(in, size, out);
		assert_int_equal(out[written], '\0');
		for (size_t i = 0; i < written; i += n) {
			n = utf8_next((uint8_t *)out + i, written - i, &c);
			assert_true(n > 0);
			assert_false(char_misleads(c));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines),
		cmocka_unit_test(formats_keep_their_own_line_ends),
		cmocka_unit_test(long_lines_are_whole),
		cmocka_unit_test(the_log_is_a_line),
		cmocka_unit_test(random_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
