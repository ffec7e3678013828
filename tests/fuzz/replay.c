/*
 * Runs a fuzz target over the files of the directories it is given, in name order: every input
 * that was ever found stays a test, without a fuzzer. The last line counts them.
 */
#include "crypto/base/cleanup.h"

#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
	_cleanup_fclose_ FILE *f = fopen(path, "rbe");
	_cleanup_free_ uint8_t *data = NULL;
	struct stat st;
	size_t size;

	if (!f || fstat(fileno(f), &st) < 0) {
		fprintf(stderr, "cannot open %s\n", path);
		return 1;
	}
	size = (size_t)st.st_size;
	/* Exactly as large as the input, so that sanitizers see a read beyond it. */
	data = malloc(size > 0 ? size : 1);
	if (!data || fread(data, 1, size, f) != size) {
		fprintf(stderr, "cannot read %s\n", path);
		return 1;
	}
	printf("%s\n", path);
	(void)fflush(stdout);
	return LLVMFuzzerTestOneInput(data, size);
}

/* Files run, or -1. */
static int replay_directory(const char *dir)
{
	_cleanup_(freep) struct dirent **entries = NULL;
	int count = scandir(dir, &entries, NULL, alphasort), done = 0;

	for (int i = 0; i < count; i++) {
		_cleanup_free_ struct dirent *e = entries[i];
		_cleanup_free_ char *path = NULL;

		if (e->d_name[0] == '.' || done < 0)
			continue;
		if (asprintf(&path, "%s/%s", dir, e->d_name) < 0 || replay_file(path) != 0)
			done = -1;
		else
			done++;
	}
	return count < 0 ? -1 : done;
}

int main(int argc, char **argv)
{
	int total = 0;

	for (int i = 1; i < argc; i++) {
		int done = replay_directory(argv[i]);

		if (done <= 0) {
			fprintf(stderr, "no inputs, or one that failed, in %s\n", argv[i]);
			return 1;
		}
		total += done;
	}
	printf("%d inputs\n", total);
	return total > 0 ? 0 : 1;
}
