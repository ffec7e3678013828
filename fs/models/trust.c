/*
 * AWS's files. Job: refuse files that others can change: they decide which keys are used, and which
 * server certificates are trusted. Trusts the environment. fs/aws and fs/net read the content.
 */
#include "fs/models/trust.h"

#include "crypto/base/trust_file.h"
#include "fs/aws/profile.h"

#include <errno.h>
#include <unistd.h>

static int check(const char *path, struct error *err)
{
	_cleanup_close_ int fd = -1;
	int r = trust_file_open(path, TRUST_UNCHANGED, &fd, err);

	/* What is not there, or cannot be opened, is fs/net's to judge. */
	return r == -EINVAL ? r : 0;
}

static int check_named(void *arg, const char *path, struct error *err)
{
	return check(path, err);
}

int trust_aws_files(const char *profile, struct error *err)
{
	static const char *const variables[] = {
		"AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
		"AWS_CA_BUNDLE",
		"CURL_CA_BUNDLE",
	};
	int r = 0;

	for (int which = PROFILE_CREDENTIALS; r == 0 && which <= PROFILE_CONFIG; which++) {
		_cleanup_free_ char *path = profile_file(which);

		if (path)
			r = check(path, err);
	}
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(variables); i++) {
		const char *path = getenv(variables[i]);

		if (path && *path)
			r = check(path, err);
	}
	return r == 0 ? profile_each_file(profile, check_named, NULL, err) : r;
}
