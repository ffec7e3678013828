/*
 * Descriptions. Job: OLLAMA.md's format, one valid encoding. The bytes were sealed by the
 * model's sealer, and still nothing in them is trusted: lengths are checked before use, each
 * blob must be one that the manifest names with this digest and size, and the manifest's model must
 * be the file that the description lies beside.
 */
#include "fs/formats/ollama_description.h"

#include "crypto/base/cursor.h"
#include "crypto/base/digest.h"

#include <errno.h>
#include <string.h>

#define MAGIC "sfollama"
#define MAGIC_SIZE 8
#define VERSION 1
#define HEADER_SIZE 64
#define RESERVED_SIZE 14

struct lengths {
	uint16_t name, blobs;
	uint32_t manifest;
};

static int parse_header(struct cursor *c, const uint8_t model[SHA256_SIZE], struct lengths *ret,
			struct error *err)
{
	const uint8_t *magic = cursor_take(c, MAGIC_SIZE), *digest;
	uint16_t version = cursor_le16(c);

	if (!magic || memcmp(magic, MAGIC, MAGIC_SIZE) != 0)
		return error_set(err, -EPROTO, "it is not an Ollama description");
	if (version != VERSION)
		return error_set(err, -EPROTO, "it is of version %u, this program knows %d",
				 version, VERSION);
	ret->name = cursor_le16(c);
	ret->manifest = cursor_le32(c);
	ret->blobs = cursor_le16(c);
	cursor_zeros(c, RESERVED_SIZE);
	digest = cursor_take(c, SHA256_SIZE);
	if (!digest || ret->name > OLLAMA_NAME_MAX || ret->manifest > OLLAMA_MANIFEST_MAX ||
	    ret->blobs > OLLAMA_LAYERS_MAX + 1)
		return error_set(err, -EPROTO, "its header is malformed");
	if (memcmp(digest, model, SHA256_SIZE) != 0)
		return error_set(err, -EPROTO, "it describes another model");
	return 0;
}

static int parse_name(struct cursor *c, size_t size, struct ollama_name *ret, struct error *err)
{
	const uint8_t *text = cursor_take(c, size);
	char copy[OLLAMA_NAME_MAX + 1], full[OLLAMA_NAME_MAX + 1];

	if (text) {
		memcpy(copy, text, size);
		copy[size] = '\0';
		if (!ollama_name_parse(copy, ret)) {
			ollama_name_full(ret, full);
			if (strlen(full) == size && memcmp(full, text, size) == 0)
				return 0;
		}
	}
	return error_set(err, -EPROTO, "its name is not HOST/NAMESPACE/MODEL:TAG");
}

static const struct ollama_layer *manifest_entry(const struct ollama_manifest *m, size_t index)
{
	if (m->has_config)
		return index == 0 ? &m->config : &m->layers[index - 1];
	return &m->layers[index];
}

static size_t manifest_entries(const struct ollama_manifest *m)
{
	return m->layer_count + m->has_config;
}

static bool is_blob(const struct ollama_layer *entry, const struct ollama_blob *blob)
{
	return entry->size == blob->size && memcmp(entry->sha256, blob->sha256, SHA256_SIZE) == 0;
}

/* False: an earlier entry names the same bytes. */
static bool is_first(const struct ollama_manifest *m, size_t entry)
{
	for (size_t i = 0; i < entry; i++)
		if (memcmp(manifest_entry(m, i)->sha256, manifest_entry(m, entry)->sha256,
			   SHA256_SIZE) == 0)
			return false;
	return true;
}

/* Blobs stand in the order in which the manifest first names them. */
static int parse_blobs(struct cursor *c, size_t count, struct ollama_description *d,
		       struct error *err)
{
	size_t at = 0, entries = manifest_entries(d->manifest);

	for (size_t i = 0; i < count; i++) {
		struct ollama_blob *blob = &d->blobs[i];
		int r;

		blob->size = cursor_le32(c);
		blob->data = cursor_take(c, blob->size);
		if (!blob->data)
			return error_set(err, -EPROTO, "it ends in the middle of a blob");
		r = digest_buffer(DIGEST_SHA256, blob->data, blob->size, blob->sha256);
		if (r < 0)
			return r;
		for (size_t k = 0; k < i; k++)
			if (memcmp(blob->sha256, d->blobs[k].sha256, SHA256_SIZE) == 0)
				return error_set(err, -EPROTO, "it has a blob twice");
		while (at < entries && !(is_blob(manifest_entry(d->manifest, at), blob) &&
					 is_first(d->manifest, at)))
			at++;
		if (at == entries)
			return error_set(err, -EPROTO,
					 "it has a blob that its manifest does not name there");
		d->blob_count++;
	}
	return cursor_done(c) ? 0 : error_set(err, -EPROTO, "something follows its last blob");
}

static int check_model(const struct ollama_manifest *m, const uint8_t model[SHA256_SIZE],
		       struct error *err)
{
	if (memcmp(m->layers[m->model].sha256, model, SHA256_SIZE) == 0)
		return 0;
	return error_set(err, -EPROTO, "its manifest names another model");
}

int ollama_description_parse(uint8_t *bytes, size_t size, const uint8_t model[SHA256_SIZE],
			     struct ollama_description **ret, struct error *err)
{
	_cleanup_(ollama_description_freep) struct ollama_description *d = calloc(1, sizeof(*d));
	struct cursor c = cursor_init(bytes, size);
	struct lengths lengths = {0};
	int r;

	if (!d) {
		free(bytes);
		return -ENOMEM;
	}
	d->bytes = bytes;
	r = parse_header(&c, model, &lengths, err);
	if (r == 0)
		r = parse_name(&c, lengths.name, &d->name, err);
	if (r < 0)
		return r;
	d->manifest_size = lengths.manifest;
	d->manifest_bytes = cursor_take(&c, lengths.manifest);
	if (!d->manifest_bytes)
		return error_set(err, -EPROTO, "it ends in the middle of the manifest");
	r = ollama_manifest_parse(d->manifest_bytes, d->manifest_size, &d->manifest, err);
	if (r == 0)
		r = check_model(d->manifest, model, err);
	if (r == 0)
		r = parse_blobs(&c, lengths.blobs, d, err);
	if (r == 0)
		*ret = steal_ptr(d);
	return r;
}

void ollama_description_free(struct ollama_description *d)
{
	if (!d)
		return;
	free(d->manifest);
	free(d->bytes);
	free(d);
}

/* The blob behind an entry, unless an earlier entry has it too. */
static const struct ollama_blob *find_blob(const struct ollama_description *d,
					   const struct ollama_manifest *m, size_t entry)
{
	const struct ollama_layer *layer = manifest_entry(m, entry);

	for (size_t i = 0; is_first(m, entry) && i < d->blob_count; i++) {
		struct ollama_blob blob = d->blobs[i];

		if (digest_buffer(DIGEST_SHA256, blob.data, blob.size, blob.sha256) == 0 &&
		    is_blob(layer, &blob))
			return &d->blobs[i];
	}
	return NULL;
}

static uint8_t *append(uint8_t *at, const void *data, size_t size)
{
	if (size > 0)
		memcpy(at, data, size);
	return at + size;
}

static void write_all(uint8_t *out, const struct ollama_description *d,
		      const struct ollama_manifest *m, const char *name)
{
	uint8_t *at = out + HEADER_SIZE;
	uint16_t blobs = 0;

	memset(out, 0, HEADER_SIZE);
	at = append(at, name, strlen(name));
	at = append(at, d->manifest_bytes, d->manifest_size);
	for (size_t i = 0; i < manifest_entries(m); i++) {
		const struct ollama_blob *blob = find_blob(d, m, i);

		if (!blob)
			continue;
		put_le32(at, (uint32_t)blob->size);
		at = append(at + sizeof(uint32_t), blob->data, blob->size);
		blobs++;
	}
	(void)append(out, MAGIC, MAGIC_SIZE);
	put_le16(out + 8, VERSION);
	put_le16(out + 10, (uint16_t)strlen(name));
	put_le32(out + 12, (uint32_t)d->manifest_size);
	put_le16(out + 16, blobs);
	memcpy(out + 32, m->layers[m->model].sha256, SHA256_SIZE);
}

int ollama_description_make(const struct ollama_description *d, uint8_t **ret, size_t *ret_size,
			    struct error *err)
{
	_cleanup_(ollama_description_freep) struct ollama_description *check = NULL;
	_cleanup_free_ struct ollama_manifest *m = NULL;
	_cleanup_free_ uint8_t *out = NULL;
	char name[OLLAMA_NAME_MAX + 1];
	uint8_t *copy;
	size_t size = HEADER_SIZE;
	int r = ollama_manifest_parse(d->manifest_bytes, d->manifest_size, &m, err);

	if (r < 0)
		return r;
	ollama_name_full(&d->name, name);
	size += strlen(name) + d->manifest_size;
	for (size_t i = 0; i < manifest_entries(m) && size <= OLLAMA_DESCRIPTION_MAX; i++) {
		const struct ollama_blob *blob = find_blob(d, m, i);

		if (blob)
			size += sizeof(uint32_t) + MIN(blob->size, OLLAMA_DESCRIPTION_MAX);
	}
	if (size > OLLAMA_DESCRIPTION_MAX)
		return error_set(err, -EFBIG,
				 "template, system, params, license and the like have more than "
				 "4 MiB together");
	out = malloc(size);
	copy = malloc(size);
	if (!out || !copy) {
		free(copy);
		return -ENOMEM;
	}
	write_all(out, d, m, name);
	memcpy(copy, out, size);
	r = ollama_description_parse(copy, size, m->layers[m->model].sha256, &check, err);
	if (r < 0)
		return r;
	*ret = steal_ptr(out);
	*ret_size = size;
	return 0;
}
