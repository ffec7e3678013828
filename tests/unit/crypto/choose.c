/*
 * Linked into every test of crypto/: SEALEDFS_TEST_CRYPTO=openssl or ipsec-mb runs it with that
 * library (meson does both). Where libipsec-mb cannot be used the test is skipped and says why.
 */
#include "crypto/backend.h"

#include <stdio.h>
#include <stdlib.h>

__attribute__((constructor)) static void choose(void)
{
	const char *name = getenv("SEALEDFS_TEST_CRYPTO");
	enum crypto_choice choice;
	struct error err = {0};

	if (!name)
		return;
	if (crypto_choice_parse(name, &choice) < 0) {
		fprintf(stderr, "SEALEDFS_TEST_CRYPTO=%s is no library\n", name);
		exit(1);
	}
	if (crypto_backend_choose(choice, &err) < 0) {
		fprintf(stderr, "[  SKIPPED ] 1 test(s): %s\n", err.message);
		exit(0);
	}
}
