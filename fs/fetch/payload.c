/*
 * One object of ciphertext. Job: read ranges of its known version, and follow it to a newer version
 * of the same size. Trusts nothing that it reads; the data is checked when it is decrypted.
 */
#include "fs/fetch/payload.h"

#include "crypto/format.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

int payload_init(struct payload *p, const char *name, const char *version, const char *label)
{
	pthread_mutex_init(&p->lock, NULL);
	p->by_extents = source_preferred_size(p->source) >= SEAL_EXTENT_SIZE;
	access_init(&p->access, p->chunk_count);
	(void)snprintf(p->version, sizeof(p->version), "%s", version ? version : "");
	p->name = strdup(name);
	p->label = strdup(label);
	return p->name && p->label ? 0 : -ENOMEM;
}

void payload_done(struct payload *p)
{
	access_done(&p->access);
	pthread_mutex_destroy(&p->lock);
	free(p->name);
	free(p->label);
}

void payload_version(struct payload *p, char ret[SOURCE_VERSION_MAX])
{
	pthread_mutex_lock(&p->lock);
	memcpy(ret, p->version, SOURCE_VERSION_MAX);
	pthread_mutex_unlock(&p->lock);
}

int payload_read(struct payload *p, bool fresh, uint64_t offset, size_t size, uint8_t *buf,
		 struct error *err)
{
	char version[SOURCE_VERSION_MAX];

	payload_version(p, version);
	return (fresh ? source_read_fresh : source_read)(
		p->source, p->name, version[0] ? version : NULL, offset, size, buf, err);
}

int payload_renew(struct payload *p, struct error *err)
{
	struct source_object now = {0};
	int r = source_stat(p->source, p->name, &now, err);

	if (r == 0 && now.size != p->length)
		r = error_set(err, -ESTALE, "\"%s\" has %" PRIu64 " bytes now, not %" PRIu64,
			      p->label, now.size, p->length);
	if (r == 0) {
		pthread_mutex_lock(&p->lock);
		(void)snprintf(p->version, sizeof(p->version), "%s", now.version);
		pthread_mutex_unlock(&p->lock);
	}
	source_object_clear(&now);
	return r;
}
