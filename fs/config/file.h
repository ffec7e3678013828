/*
 * config_file.h: /etc/sealedfs/NAME.conf, sealedfs.conf(5): lines of "key = value". Strict: what is
 * not understood, or said twice, is an error with its line, never passed over.
 *
 * Empty lines and lines that begin with '#' or ';' do not count. A value goes to the end of its
 * line; blanks around key and value do not count; there are no quotes, no continuation lines and
 * no sections.
 */
#ifndef SEALEDFS_CONFIG_FILE_H
#define SEALEDFS_CONFIG_FILE_H

#include "crypto/base/error.h"

#define CONFIG_FILE_SIZE_MAX ((size_t)64 << 10)
#define CONFIG_FILE_KEYS_MAX 64
#define CONFIG_FILE_SUFFIX ".conf"

/* One key and its value, which is not empty. 0 or negative errno with *err set. */
typedef int config_file_key(void *arg, const char *key, const char *value, struct error *err);

/*
 * Reads path. -EINVAL, always, for a restart would not help: it cannot be read, others could change
 * it, it is malformed. Errors of a line, and of the callback, have "PATH:LINE: " in front.
 */
int config_file_read(const char *path, config_file_key *take, void *arg, struct error *err);
/* The same for a text that is in memory; it is changed. label: for messages. */
int config_file_parse(const char *label, char *text, config_file_key *take, void *arg,
		      struct error *err);

/* "NAME" of ".../NAME.conf"; malloc()ed. -EINVAL: the file is not called so. */
int config_file_instance(const char *path, char **ret);

/*
 * Where a value "credential:NAME" is: $CREDENTIALS_DIRECTORY/NAME (systemd's LoadCredential=);
 * any other value is a path already. malloc()ed. -EINVAL: no such name can be, or no directory.
 */
int config_credential_path(const char *value, char **ret, struct error *err);

#endif
