/*
 * file.h: /etc/sealedfs/NAME.conf, sealedfs.conf(5): lines of "key = value". Strict: a
 * line that is not understood, or a key that is set twice, is an error that names the line.
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
 * Reads path. Always -EINVAL, because a restart would not help: the file cannot be read, other
 * users can change it, or it is malformed. Errors of a line and of the callback begin with
 * "PATH:LINE: ".
 */
int config_file_read(const char *path, config_file_key *take, void *arg, struct error *err);
/* The same for a text that is in memory; it is changed. label: for messages. */
int config_file_parse(const char *label, char *text, config_file_key *take, void *arg,
		      struct error *err);

/* "NAME" of ".../NAME.conf"; malloc()ed. -EINVAL: the file has another kind of name. */
int config_file_instance(const char *path, char **ret);

/*
 * The path of a value "credential:NAME": $CREDENTIALS_DIRECTORY/NAME (systemd's LoadCredential=);
 * any other value is a path itself. malloc()ed. -EINVAL: not a valid name, or no such directory.
 */
int config_credential_path(const char *value, char **ret, struct error *err);

#endif
