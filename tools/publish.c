/*
 * Publication. Job: the payload first, the seal last and at once, so that a model of this name is
 * at every moment the old one, the new one or absent, and never half of one. Must never remove a
 * payload that a visible seal may point to.
 */
#include "tools/publish.h"

#include "crypto/base/log.h"
#include "tools/interrupt.h"

#include <errno.h>
#include <string.h>

/* Finds the payload of the model that is about to be replaced. What cannot be understood is left.
 */
static int find_old(const struct seal_request *req, struct seal_result *res, struct error *err)
{
	uint8_t head[SEAL_HEAD_MAX];
	struct source_object object = {0}, payload = {0};
	_cleanup_seal_ struct seal *old = NULL;
	struct error ignored = {0};
	size_t size;
	int r = source_stat(req->dest, res->seal_name, &object, &ignored);

	/* Who may only write cannot look; that matters to --remove-old alone. */
	if (r == -ENOENT || (r == -EACCES && !req->remove_old))
		return 0;
	if (r < 0)
		return error_set(err, r, "%s", error_text(&ignored, r));
	res->replaced = true;
	size = (size_t)MIN(object.size, (uint64_t)sizeof(head));
	r = source_read(req->dest, res->seal_name, object.version, 0, size, head, &ignored);
	if (r == 0)
		r = seal_parse_head(res->seal_name, head, size, object.size, &old, &ignored);
	source_object_clear(&object);
	if (r == 0)
		r = seal_payload_name(old, res->seal_name, &res->old_payload);
	if (r == 0 && source_stat(req->dest, res->old_payload, &payload, NULL) < 0) {
		free(res->old_payload);
		res->old_payload = NULL;
	}
	source_object_clear(&payload);
	return 0;
}

/* 1 when our seal is visible, 0 when it is not, else why that is unknown. */
static int is_ours(const struct seal_request *req, const struct seal_result *res,
		   const uint8_t *seal)
{
	uint8_t core[SEAL_CORE_SIZE];
	int r = source_read(req->dest, res->seal_name, NULL, 0, sizeof(core), core, NULL);

	if (r == 0)
		return memcmp(core, seal, sizeof(core)) == 0;
	return r == -ENOENT || r == -ENODATA ? 0 : r;
}

static int put_seal(const struct seal_request *req, const uint8_t *seal, size_t seal_size,
		    const struct seal_result *res, struct error *err)
{
	_cleanup_free_ char *payload = NULL;
	int r = source_put(req->dest, res->seal_name, seal, seal_size, err), visible;

	if (r == 0)
		return 0;
	/* The answer to a PUT can get lost after the server has done it, or before it does it. */
	visible = is_ours(req, res, seal);
	if (visible == 1) {
		error_clear(err);
		return 0;
	}
	payload = source_describe(req->dest, res->payload_name);
	if (visible < 0 || error_exit_code(r) == EXIT_CODE_UNREACHABLE)
		log_warning("%s may still become visible, so its payload %s is kept",
			    res->seal_name, payload ? payload : "?");
	else if (source_remove(req->dest, res->payload_name, NULL) < 0)
		log_warning("%s could not be removed; nothing refers to it",
			    payload ? payload : "?");
	return r;
}

static void remove_old(const struct seal_request *req, struct seal_result *res)
{
	struct error err = {0};
	int r = source_remove(req->dest, res->old_payload, &err);

	res->old_payload_removed = r == 0;
	if (r < 0)
		log_error_object(LOG_WARNING, &err, r, "the old payload is still there");
}

static int publish_held(const struct seal_request *req, struct source_writer *writer,
			const uint8_t *seal, size_t seal_size, struct seal_result *res,
			struct error *err)
{
	int r = find_old(req, res, err);

	if (r < 0)
		return r;
	r = source_writer_commit(writer, err);
	if (r == 0)
		r = interrupt_check(err);
	if (r < 0) {
		/* No seal refers to it; and a server may have done what it did not confirm. */
		(void)source_remove(req->dest, res->payload_name, NULL);
		return r;
	}
	r = put_seal(req, seal, seal_size, res, err);
	if (r < 0)
		return r;
	if (req->remove_old && res->old_payload)
		remove_old(req, res);
	return 0;
}

int publish(const struct seal_request *req, struct source_writer *writer, const uint8_t *seal,
	    size_t seal_size, struct seal_result *res, struct error *err)
{
	int r;

	/* A PUT that is cut off may be carried out later, when the payload is gone again. */
	interrupt_hold();
	r = publish_held(req, writer, seal, seal_size, res, err);
	interrupt_release();
	return r;
}

void publish_undo(const struct seal_request *req, struct source_writer *writer)
{
	struct error err = {0};
	int r;

	interrupt_hold();
	if (req->aws)
		aws_resume(req->aws);
	r = source_writer_abort(writer, &err);
	interrupt_release();
	if (r < 0)
		log_error_object(LOG_WARNING, &err, r, "an unfinished upload is left behind");
}
