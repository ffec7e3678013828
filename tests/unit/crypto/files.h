/* Whole files for tests, and paths below the repository. All functions fail the test on error. */
#ifndef SEALEDFS_TEST_FILES_H
#define SEALEDFS_TEST_FILES_H

#include <stddef.h>
#include <stdint.h>

struct blob {
	uint8_t *data; /* malloc()ed, with a NUL after the last byte */
	size_t size;
};

struct blob blob_load(const char *path);
void blob_done(struct blob *b);
void blob_store(const char *path, const void *data, size_t size, unsigned mode);
/* "…/tests/vectors/format/RELATIVE"; malloc()ed. */
char *vector_path(const char *relative);
/* A copy of it in dir that nobody else can read: git keeps no such modes. Its path; malloc()ed. */
char *vector_copy(const char *relative, const char *dir);
/* A fresh directory below $TMPDIR, removed by temp_dir_done(); malloc()ed. */
char *temp_dir_new(void);
void temp_dir_done(char *dir);
/* "DIR/NAME"; malloc()ed. */
char *path_join(const char *dir, const char *name);

#define _cleanup_blob_ __attribute__((cleanup(blob_done)))

#endif
