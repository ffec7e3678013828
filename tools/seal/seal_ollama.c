/*
 * Models with descriptions. Job: the order in which objects become visible. A description that lies
 * beside another model than its own makes the mount leave the model out of the store, which is
 * harmless; a model without its description would be served without its template. So descriptions
 * come first.
 */
#include "tools/seal/seal_ollama.h"

#include "crypto/base/fileio.h"
#include "crypto/base/log.h"
#include "crypto/name.h"
#include "fs/formats/gguf_header.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

struct publication {
	const struct seal_request *req;
	struct batch *batch;
	const struct ollama_bundle *bundle;   /* NULL: no description */
	const struct ollama_weights *weights; /* the expected weights; NULL: any */
	const char *name;
};

static int seal_description(const struct publication *p, const struct seal_result *model,
			    struct error *err)
{
	struct seal_request req = *p->req;
	_cleanup_(input_freep) struct input *in = NULL;
	_cleanup_free_ uint8_t *bytes = NULL;
	_cleanup_free_ char *name = NULL;
	size_t size = 0;
	int r = ollama_bundle_describe(p->bundle, model->digests.sha256, model->length,
				       model->facts.text, &bytes, &size, err);

	req.quiet = true;
	req.is_gguf = false;
	req.before_publish = NULL;
	if (r == 0 && asprintf(&name, "%s" OLLAMA_SUFFIX, p->name) < 0) {
		name = NULL;
		r = -ENOMEM;
	}
	if (r == 0)
		r = input_open_bytes(name, bytes, size, &in, err);
	return r < 0 ? r : batch_seal(p->batch, &req, in, name, err);
}

static int before_publish(void *arg, const struct seal_result *res, struct error *err)
{
	const struct publication *p = arg;

	if (p->weights && (res->length != p->weights->size ||
			   memcmp(res->digests.sha256, p->weights->sha256, SHA256_SIZE) != 0))
		return error_set(err, -EBADMSG, "%s does not match its digest; nothing is sealed",
				 p->weights->path);
	return p->bundle ? seal_description(p, res, err) : 0;
}

static int seal_one(struct publication *p, struct input *in, struct error *err)
{
	struct seal_request req = *p->req;

	req.is_gguf = p->bundle != NULL;
	req.before_publish = before_publish;
	req.before_arg = p;
	return batch_seal(p->batch, &req, in, p->name, err);
}

/* An unreachable destination cannot be cleaned up, and may have completed what it did not confirm.
 */
static int end_batch(struct batch *batch, int r)
{
	if (r == 0)
		batch_done(batch);
	else if (error_exit_code(r) != EXIT_CODE_UNREACHABLE)
		batch_undo(batch);
	return r;
}

int seal_described(const struct seal_request *req, const struct ollama_bundle *bundle,
		   struct input *in, const char *name, struct batch *batch, struct error *err)
{
	struct publication p = {.req = req, .batch = batch, .bundle = bundle, .name = name};

	return end_batch(batch, seal_one(&p, in, err));
}

int seal_import(const struct seal_request *req, const struct ollama_import *im, struct batch *batch,
		struct error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < im->count; i++) {
		_cleanup_(input_freep) struct input *in = NULL;
		struct publication p = {
			.req = req,
			.batch = batch,
			.bundle = i == im->count - 1 ? &im->bundle : NULL,
			.weights = &im->weights[i],
			.name = im->weights[i].name,
		};

		r = input_open(im->weights[i].path, &in, err);
		if (r == 0)
			r = seal_one(&p, in, err);
	}
	return end_batch(batch, r);
}

/* A gguf_read. */
static int read_header(void *arg, uint64_t offset, uint8_t *buf, size_t size)
{
	ssize_t n = file_read_at(*(const int *)arg, buf, size, offset);

	return n < 0 ? (int)n : (size_t)n < size ? -ENODATA : 0;
}

int seal_check_gguf(const char *path, struct error *err)
{
	_cleanup_close_ int fd = -1;
	struct gguf_scan scan;
	struct stat st;
	int r;

	/* Opening a pipe would wake its writer for nothing. */
	if (strcmp(path, "-") == 0 || (stat(path, &st) == 0 && !S_ISREG(st.st_mode)))
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_set(err, -errno, "cannot read %s: %s", path, strerror(errno));
	gguf_scan_start(&scan, (uint64_t)st.st_size);
	r = gguf_scan_read(&scan, read_header, &fd, UINT64_MAX);
	if (r < 0)
		return error_set(err, r, "cannot read %s: %s", path, strerror(-r));
	if (scan.header.split_count > 1)
		return error_set(err, -EINVAL,
				 "%s is a part of a split GGUF, which Ollama cannot load", path);
	return 0;
}

void seal_warn_stale_description(const struct seal_request *req, const struct seal_result *res,
				 const char *name)
{
	_cleanup_free_ char *seal_name = NULL;
	struct source_object object = {0};
	char printable[NAME_PRINTABLE_SIZE];

	if (!res->replaced)
		return;
	if (asprintf(&seal_name, "%s" OLLAMA_SUFFIX SEAL_SUFFIX, name) < 0) {
		seal_name = NULL;
		return;
	}
	if (source_stat(req->dest, seal_name, &object, NULL) < 0)
		return;
	source_object_clear(&object);
	name_printable(seal_name, printable);
	log_warning("%s describes the replaced model: unless the model is the same, seal again "
		    "with an --ollama-* option, or remove the description",
		    printable);
}
