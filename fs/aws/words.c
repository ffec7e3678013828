/*
 * Words of a line. Job: handle only quotes and backslashes: no variable, no pattern, no operator.
 * The text is the user's own.
 */
#include "fs/aws/words.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Copies one word to *out, which it moves on; returns what follows it, NULL: a quote is open. */
static const char *take_word(const char *in, char **out)
{
	char quote = '\0';

	for (; *in && (quote || !isspace((unsigned char)*in)); in++) {
		if (!quote && (*in == '"' || *in == '\'')) {
			quote = *in;
		} else if (*in == quote) {
			quote = '\0';
		} else {
			bool escapes =
				*in == '\\' &&
				(!quote || (quote == '"' && (in[1] == '"' || in[1] == '\\')));

			in += escapes;
			if (!*in)
				return NULL;
			*(*out)++ = *in;
		}
	}
	*(*out)++ = '\0';
	return quote ? NULL : in;
}

int words_split(const char *text, char ***ret, size_t *ret_count)
{
	size_t size = strlen(text), count = 0;
	char **words, *out;

	/* At most one word for each other character. */
	words = malloc((size / 2 + 2) * sizeof(char *) + size + 1);
	if (!words)
		return -ENOMEM;
	out = (char *)(words + size / 2 + 2);
	for (;;) {
		while (isspace((unsigned char)*text))
			text++;
		if (!*text)
			break;
		words[count++] = out;
		text = take_word(text, &out);
		if (!text) {
			free(words);
			return -EINVAL;
		}
	}
	words[count] = NULL;
	*ret = words;
	*ret_count = count;
	return 0;
}
