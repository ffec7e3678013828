/*
 * Files of measurements. Job: PCR values out of what the image builders print. Trusts the caller
 * to know where the file comes from. Must never skip a value that it does not understand: a policy
 * without it would say less than its author believes.
 */
#include "attest/measurements.h"

#include "crypto/base/encode.h"
#include "crypto/base/fileio.h"
#include "crypto/base/json.h"

#include <fcntl.h>
#include <string.h>
#include <strings.h>

/* "SHA384", or that and anything that is not part of a name: "Sha384 { ... }". */
static bool is_sha384(const char *text)
{
	static const char name[] = "sha384";
	size_t n = sizeof(name) - 1;

	return text && strncasecmp(text, name, n) == 0 && (text[n] == '\0' || text[n] == ' ');
}

static int take_pcr(const char *key, const json_t *value, struct measurements *m)
{
	uint64_t pcr;

	if (strncmp(key, "PCR", 3) != 0 || (key[3] == '0' && key[4] != '\0') ||
	    number_parse(key + 3, 10, MEASUREMENTS_PCRS - 1, &pcr) < 0 || !json_is_string(value) ||
	    json_string_length(value) != 2 * (size_t)MEASUREMENTS_PCR_SIZE ||
	    hex_decode(json_string_value(value), m->value[pcr], MEASUREMENTS_PCR_SIZE) < 0)
		return -EPROTO;
	m->present[pcr] = true;
	return 0;
}

int measurements_parse(const void *json, size_t size, const char *name, struct measurements *ret,
		       struct error *err)
{
	_cleanup_json_ json_t *root = NULL;
	struct measurements m = {0};
	const char *key;
	json_t *group, *value;
	size_t count = 0;

	if (size > MEASUREMENTS_SIZE_MAX)
		return error_set(err, -EFBIG, "%s: measurements have %d bytes at most", name,
				 MEASUREMENTS_SIZE_MAX);
	root = json_object_parse(json, size);
	group = json_object_get(root, "Measurements");
	if (!json_is_object(group)) {
		error_hint(err, "give what nitro-tpm-pcr-compute or nitro-cli printed");
		return error_set(err, -EPROTO, "%s: not JSON with \"Measurements\"", name);
	}
	if (!is_sha384(json_text(group, "HashAlgorithm")))
		return error_set(err, -EPROTO, "%s: HashAlgorithm is not SHA384", name);
	json_object_foreach (group, key, value) {
		if (strcmp(key, "HashAlgorithm") == 0)
			continue;
		if (take_pcr(key, value, &m) < 0)
			return error_set(err, -EPROTO, "%s: %.64s is not a PCR of %d bytes in hex",
					 name, key, MEASUREMENTS_PCR_SIZE);
		count++;
	}
	if (count == 0)
		return error_set(err, -EPROTO, "%s: no PCR in it", name);
	*ret = m;
	return 0;
}

int measurements_read(const char *path, struct measurements *ret, struct error *err)
{
	char buf[MEASUREMENTS_SIZE_MAX + 1];
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -errno : file_read(fd, buf, sizeof(buf));

	if (n < 0)
		return error_set(err, (int)n, "cannot read %s: %s", path, strerror((int)-n));
	return measurements_parse(buf, (size_t)n, path, ret, err);
}
