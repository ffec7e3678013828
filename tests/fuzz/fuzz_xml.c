/*
 * Fuzz target: the XML answers of S3. Besides not crashing, what the headers promise: keys of 1 to
 * 1024 bytes, texts without control characters.
 */
#include "fs/aws/call.h"
#include "fs/aws/s3_xml.h"

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

static void check_failure(const struct call_failure *f)
{
	check_text(f->code, sizeof(f->code));
	check_text(f->message, sizeof(f->message));
	check_text(f->request_id, sizeof(f->request_id));
	check_text(f->region, sizeof(f->region));
}

static void parse_page(const uint8_t *data, size_t size)
{
	_cleanup_(s3_page_clear) struct s3_page page = {0};
	int r = s3_xml_page(data, size, &page);

	check(r == 0 || r == -EPROTO || r == -E2BIG);
	check(page.count <= 2 * S3_PAGE_OBJECTS_MAX);
	for (size_t i = 0; r == 0 && i < page.count; i++) {
		size_t length = strlen(page.objects[i].key);

		check(length >= 1 && length <= 1024);
		check(memchr(page.objects[i].etag, '\0', S3_ETAG_MAX) != NULL);
	}
	check(r < 0 || !page.truncated || page.token[0]);
}

static void parse_small(const uint8_t *data, size_t size)
{
	struct call_failure failure = {0};
	char *id = NULL;
	int r = s3_xml_upload_id(data, size, &id);

	check((r == 0) == (id != NULL));
	free(id);
	r = s3_xml_error(data, size, &failure);
	check(r == 0 || r == -EPROTO);
	check_failure(&failure);
	r = s3_xml_complete(data, size);
	check(r == 0 || r == -EPROTO || r == -EREMOTEIO);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	parse_page(data, size);
	parse_small(data, size);
	return 0;
}
