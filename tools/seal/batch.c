/*
 * Batches. Job: keep what each publication replaces, and restore it on failure. Trusts the
 * destination to keep the payloads of old seals, so nothing is removed before the end.
 */
#include "tools/seal/batch.h"

#include "crypto/base/log.h"
#include "tools/common/interrupt.h"

#include <errno.h>
#include <string.h>

#define PIECES_MAX 80
/* An old seal that is longer is not put back: of a part of 8 GiB. */
#define OLD_SEAL_MAX ((uint64_t)1 << 20)

struct piece {
	char *name;
	struct seal_result result;
	uint8_t *old_seal; /* NULL: there was none, or it cannot be put back */
	size_t old_size;
};

struct batch {
	const struct seal_request *req;
	size_t count;
	struct piece pieces[PIECES_MAX];
};

int batch_new(const struct seal_request *req, struct batch **ret)
{
	*ret = calloc(1, sizeof(**ret));
	if (!*ret)
		return -ENOMEM;
	(*ret)->req = req;
	return 0;
}

void batch_free(struct batch *b)
{
	if (!b)
		return;
	for (size_t i = 0; i < b->count; i++) {
		free(b->pieces[i].name);
		free(b->pieces[i].old_seal);
		seal_result_clear(&b->pieces[i].result);
	}
	free(b);
}

/* With permission to write but not to read, the old seal is not kept. */
static void keep_old_seal(struct source *dest, struct piece *p)
{
	_cleanup_free_ char *seal_name = NULL;
	struct source_object object = {0};

	if (asprintf(&seal_name, "%s" SEAL_SUFFIX, p->name) < 0) {
		seal_name = NULL;
		return;
	}
	if (source_stat(dest, seal_name, &object, NULL) == 0 && object.size <= OLD_SEAL_MAX) {
		p->old_size = (size_t)object.size;
		p->old_seal = malloc(p->old_size + 1);
		if (p->old_seal && source_read(dest, seal_name, object.version, 0, p->old_size,
					       p->old_seal, NULL) < 0) {
			free(p->old_seal);
			p->old_seal = NULL;
		}
	}
	source_object_clear(&object);
}

int batch_seal(struct batch *b, const struct seal_request *req, struct input *in, const char *name,
	       struct error *err)
{
	struct seal_request keeping = *req;
	struct piece p = {.name = strdup(name)};
	int r;

	keeping.remove_old = false;
	if (!p.name || b->count + 1 >= PIECES_MAX) {
		free(p.name);
		return -ENOMEM;
	}
	keep_old_seal(req->dest, &p);
	r = seal_input(&keeping, in, name, &p.result, err);
	if (r < 0) {
		free(p.name);
		free(p.old_seal);
		return r;
	}
	b->pieces[b->count++] = p;
	return 0;
}

static int take_back(struct source *dest, const struct piece *p, struct error *err)
{
	int r;

	if (p->result.pending)
		r = source_remove(dest, p->result.pending, err);
	else if (p->old_seal)
		r = source_put(dest, p->result.seal_name, p->old_seal, p->old_size, err);
	else
		r = source_remove(dest, p->result.seal_name, err);
	/* Without its seal a payload is invisible. */
	if (r == 0)
		r = source_remove(dest, p->result.payload_name, err);
	return r;
}

void batch_undo(struct batch *b)
{
	interrupt_hold();
	if (b->req->aws)
		aws_resume(b->req->aws);
	while (b->count > 0) {
		struct piece *p = &b->pieces[--b->count];
		struct error err = {0};
		int r = take_back(b->req->dest, p, &err);

		if (r < 0)
			log_error_object(LOG_WARNING, &err, r, "what was sealed is left behind");
		free(p->name);
		free(p->old_seal);
		seal_result_clear(&p->result);
	}
	interrupt_release();
}

void batch_done(struct batch *b)
{
	for (size_t i = 0; i < b->count; i++) {
		struct seal_result *res = &b->pieces[i].result;
		struct error err = {0};
		int r;

		if (!b->req->remove_old || !res->old_payload)
			continue;
		r = source_remove(b->req->dest, res->old_payload, &err);
		res->old_payload_removed = r == 0;
		if (r < 0)
			log_error_object(LOG_WARNING, &err, r, "an old payload is still there");
	}
}

size_t batch_count(const struct batch *b)
{
	return b->count;
}

const struct seal_result *batch_result(const struct batch *b, size_t index, const char **ret_name)
{
	*ret_name = b->pieces[index].name;
	return &b->pieces[index].result;
}
