/*
 * Fuzz target: JSON, of KMS both ways and the key documents of IMDS. Besides not crashing, what the
 * headers promise: bounded blobs, keys of one size, texts without control characters, and requests
 * that mean what they were made of.
 */
#include "crypto/base/json.h"
#include "fs/aws/call.h"
#include "fs/aws/kms_json.h"

#include <errno.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void check_text(const char *text, size_t size)
{
	check(memchr(text, '\0', size) != NULL);
	for (; *text; text++)
		check((unsigned char)*text >= 0x20 && *text != 0x7f);
}

static void parse_answer(const uint8_t *data, size_t size)
{
	_cleanup_(kms_answer_clear) struct kms_answer answer = {0};
	int r = kms_json_answer(data, size, &answer);

	check(r == 0 || r == -EPROTO || r == -E2BIG);
	check(r < 0 || answer.key_id != NULL);
	check(!answer.key_id || strlen(answer.key_id) <= KMS_ARN_MAX);
	check(answer.blob_size <= KMS_BLOB_MAX && answer.recipient_size <= KMS_BLOB_MAX);
	check(!answer.plain || secret_size(answer.plain) == KMS_DATA_KEY_SIZE);
}

static void parse_failure(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *type = strndup((const char *)data, size);
	struct call_failure failure = {0};

	kms_json_failure(data, size, NULL, &failure);
	check_text(failure.code, sizeof(failure.code));
	check_text(failure.message, sizeof(failure.message));
	failure = (struct call_failure){0};
	kms_json_failure(data, size, type, &failure);
	check_text(failure.code, sizeof(failure.code));
	check_text(failure.message, sizeof(failure.message));
}

/* The bytes as a key id, a blob and a document. */
static void make_request(const uint8_t *data, size_t size)
{
	static const uint8_t file_id[32] = {1, 2, 3};
	_cleanup_free_ char *id = strndup((const char *)data, size);
	struct kms_request req = {.key_id = id, .file_id = file_id, .blob = data, .document = data};
	_cleanup_(text_clear) struct text out = {0};
	_cleanup_json_ json_t *again = NULL;
	int r;

	check(id != NULL);
	req.blob_size = MIN(size, (size_t)KMS_BLOB_MAX);
	req.document_size = size;
	r = kms_json_request(&req, &out);
	check(r == 0 || r == -EINVAL);
	if (r < 0)
		return;
	again = json_object_parse(out.data, out.size);
	check(again && strcmp(json_text(again, "KeyId"), id) == 0);
	check(json_object_size(again) == 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct credentials *keys = NULL;
	struct error err = {0};
	int r;

	parse_answer(data, size);
	parse_failure(data, size);
	make_request(data, size);
	r = credentials_parse_json(data, size, "fuzz", &keys, &err);
	check((r == 0) == (keys != NULL) && err.code == r);
	credentials_unref(keys);
	return 0;
}
