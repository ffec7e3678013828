/*
 * Publication. Job: write the payload first and the seal last, in one step, so that a model of this
 * name is at every moment the old one, the new one or absent, never a part of one. Must never
 * remove a payload that a visible seal may point to.
 */
#include "tools/seal/publish.h"

#include "crypto/base/encode.h"
#include "crypto/base/log.h"
#include "tools/common/interrupt.h"
#include "tools/common/target.h"

#include <errno.h>
#include <string.h>

/* Finds the payload of the model that is about to be replaced. A seal that cannot be parsed is
 * ignored. */
static int find_old(const struct seal_request *req, struct seal_result *res, struct error *err)
{
	struct source_object object = {0}, payload = {0};
	_cleanup_seal_ struct seal *old = NULL;
	struct error ignored = {0};
	int r = source_stat(req->dest, res->seal_name, &object, &ignored);

	/* Permission to write does not include reading; only --remove-old needs it. */
	if (r == -ENOENT || (r == -EACCES && !req->remove_old))
		return 0;
	if (r < 0)
		return error_set(err, r, "%s", error_text(&ignored, r));
	res->replaced = true;
	r = target_read_head(req->dest, &object, res->seal_name, &old, &ignored);
	source_object_clear(&object);
	/* A seal that was moved here does not refer to a payload here. */
	if (r == 0)
		r = seal_check_name(old, res->seal_name, &ignored);
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
	int r = source_read(req->dest, res->pending ? res->pending : res->seal_name, NULL, 0,
			    sizeof(core), core, NULL);

	if (r == 0)
		return memcmp(core, seal, sizeof(core)) == 0;
	return r == -ENOENT || r == -ENODATA ? 0 : r;
}

/* As a pending seal (crypto/FORMAT.md section 11.5). Under the member's own name, another writer
 * whose set names that member would write over it. */
static int put_for_set(const struct seal_request *req, const uint8_t *seal, size_t seal_size,
		       struct seal_result *res, struct error *err)
{
	size_t stem = strlen(res->payload_name) - strlen(SEAL_PAYLOAD_SUFFIX);

	if (asprintf(&res->pending, "%.*s" SET_PENDING_SUFFIX, (int)stem, res->payload_name) < 0) {
		res->pending = NULL;
		return -ENOMEM;
	}
	return source_put(req->dest, res->pending, seal, seal_size, err);
}

static int put_seal(const struct seal_request *req, const uint8_t *seal, size_t seal_size,
		    struct seal_result *res, struct error *err)
{
	_cleanup_free_ char *payload = NULL;
	int r = req->for_set ? put_for_set(req, seal, seal_size, res, err)
			     : source_put(req->dest, res->seal_name, seal, seal_size, err);
	int visible;

	if (r == 0)
		return 0;
	/* The response to a PUT can be lost before or after the server stores the object. */
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
		/* No seal refers to it. The server may have completed an unconfirmed request. */
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

	/* An interrupted PUT may still take effect later, after the payload was removed. */
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

void seal_result_clear(struct seal_result *r)
{
	free(r->seal_name);
	free(r->payload_name);
	free(r->pending);
	free(r->old_payload);
	*r = (struct seal_result){0};
}

int seal_time(uint64_t *ret, struct error *err)
{
	const char *text = getenv("SOURCE_DATE_EPOCH");

	*ret = SEALED_NOW;
	if (text && number_parse(text, 10, SEAL_TIME_MAX, ret) < 0) {
		error_set(err, -EINVAL, "SOURCE_DATE_EPOCH is not a time in seconds since 1970");
		error_hint(err, "unset it, or give digits only, up to the year 9999");
		return -EINVAL;
	}
	return 0;
}
