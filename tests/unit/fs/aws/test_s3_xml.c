/* fs/aws/s3_xml and xml: S3's answers, and hostile ones. */
#include "fs/aws/s3_xml.h"

#include "fs/aws/call.h"
#include "fs/net/text.h"
#include "fs/net/xml.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

#define NS " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""
#define OBJECT(key, size)                                                                   \
	"<Contents><Key>" key "</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified>" \
	"<ETag>&quot;abc&quot;</ETag><Size>" size                                           \
	"</Size><Owner><ID>x</ID></Owner><StorageClass>STANDARD</StorageClass></Contents>"
#define PAGE(inner)                                                                  \
	"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult" NS ">" inner \
	"</ListBucketResult>"
#define URL_ENCODED "<EncodingType>url</EncodingType>"

static int page(const char *xml, struct s3_page *ret)
{
	*ret = (struct s3_page){0};
	return s3_xml_page(xml, strlen(xml), ret);
}

static void reads_a_page(void **state)
{
	_cleanup_(s3_page_clear) struct s3_page p;

	assert_int_equal(
		page(PAGE("<Name>b</Name><Prefix>a%2F</Prefix><KeyCount>2</KeyCount>" URL_ENCODED
			  "<IsTruncated>true</IsTruncated>"
			  "<NextContinuationToken>1+/=&amp;x</NextContinuationToken>" OBJECT(
				  "a/b+c%2B%C3%BC", "42949672960") OBJECT("a/%25", "0")),
		     &p),
		0);
	assert_true(p.truncated);
	assert_string_equal(p.token, "1+/=&x");
	assert_int_equal(p.count, 2);
	assert_string_equal(p.objects[0].key, "a/b c+\xc3\xbc");
	assert_int_equal(p.objects[0].size, 42949672960);
	assert_int_equal(p.objects[0].mtime_s, 1767323045);
	assert_string_equal(p.objects[0].etag, "\"abc\"");
	assert_string_equal(p.objects[1].key, "a/%");
}

static void keys_stay_as_they_are_without_encoding(void **state)
{
	_cleanup_(s3_page_clear) struct s3_page p;

	assert_int_equal(page(PAGE(OBJECT("a+b%20&lt;&#xe4;", "1")), &p), 0);
	assert_string_equal(p.objects[0].key, "a+b%20<\xc3\xa4");
	assert_false(p.truncated);
}

static void encoding_may_follow_the_keys(void **state)
{
	_cleanup_(s3_page_clear) struct s3_page p;

	assert_int_equal(page(PAGE(OBJECT("a%20b", "1") URL_ENCODED), &p), 0);
	assert_string_equal(p.objects[0].key, "a b");
}

static void bad_pages_are_refused(void **state)
{
	static const char *const bad[] = {
		"",
		" ",
		"not xml",
		"<ListBucketResult>",
		"<Other/>",
		"<ListBucketResultX/>",
		"<Error><Code>x</Code></Error>",
		PAGE(OBJECT("", "1")),
		PAGE(OBJECT("a", "")),
		PAGE(OBJECT("a", "-1")),
		PAGE(OBJECT("a", "1e3")),
		PAGE(OBJECT("a", "99999999999999999999")),
		PAGE("<Contents><Size>1</Size></Contents>"),
		PAGE("<Contents><Key>a</Key></Contents>"),
		PAGE("<Contents><Key>a</Key><Key>b</Key><Size>1</Size></Contents>"),
		PAGE("<Contents><Key>a</Key><Size>1</Size>"
		     "<LastModified>yesterday</LastModified></Contents>"),
		PAGE(URL_ENCODED OBJECT("a%", "1")),
		PAGE(URL_ENCODED OBJECT("a%00b", "1")),
		PAGE("<IsTruncated>true</IsTruncated>"),
		PAGE("") "<trailing/>",
		"<!DOCTYPE x [<!ENTITY a \"b\">]>" PAGE(OBJECT("a", "1")),
		"<!DOCTYPE ListBucketResult SYSTEM \"file:///etc/passwd\"><ListBucketResult/>",
		PAGE(OBJECT("&undefined;", "1")),
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		_cleanup_(s3_page_clear) struct s3_page p;
		int r = page(bad[i], &p);

		if (r != -EPROTO)
			print_message("%d: %s\n", r, bad[i]);
		assert_int_equal(r, -EPROTO);
	}
}

/* Nine levels of ten: a billion, if it were expanded. */
static void entities_are_not_expanded(void **state)
{
	_cleanup_text_ struct text t = {0};
	_cleanup_(s3_page_clear) struct s3_page p;

	text_append(&t, "<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY l0 \"lol\">");
	for (int i = 1; i < 10; i++) {
		text_printf(&t, "<!ENTITY l%d \"", i);
		for (int j = 0; j < 10; j++)
			text_printf(&t, "&l%d;", i - 1);
		text_append(&t, "\">");
	}
	text_append(&t, "]><ListBucketResult><Contents><Key>&l9;</Key></Contents>"
			"</ListBucketResult>");
	assert_int_equal(page(t.data, &p), -EPROTO);
}

static char *repeat(const char *before, const char *piece, size_t count, const char *after)
{
	struct text t = {0};

	text_append(&t, before);
	for (size_t i = 0; i < count; i++)
		text_append(&t, piece);
	text_append(&t, after);
	return text_steal(&t);
}

static void sizes_are_bounded(void **state)
{
	_cleanup_free_ char *deep = repeat("", "<a>", XML_DEPTH_MAX + 1, "");
	_cleanup_free_ char *wide = repeat("<ListBucketResult><Contents><Key>", "k", XML_TEXT_MAX,
					   "</Key></Contents></ListBucketResult>");
	_cleanup_free_ char *key = repeat("<ListBucketResult><Contents><Key>", "k", 1025,
					  "</Key><Size>1</Size></Contents></ListBucketResult>");
	_cleanup_free_ char *name = repeat("<", "n", 600, "/>");
	_cleanup_free_ char *token =
		repeat("<ListBucketResult><NextContinuationToken>", "t", S3_TOKEN_MAX,
		       "</NextContinuationToken></ListBucketResult>");
	_cleanup_free_ char *etag = repeat("<ListBucketResult><Contents><ETag>", "e", S3_ETAG_MAX,
					   "</ETag></Contents></ListBucketResult>");
	_cleanup_free_ char *many =
		repeat("<ListBucketResult>", OBJECT("a", "1"), 20000, "</ListBucketResult>");
	const char *const bad[] = {deep, wide, key, name, token, etag};
	_cleanup_(s3_page_clear) struct s3_page last;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		_cleanup_(s3_page_clear) struct s3_page p;

		assert_int_equal(page(bad[i], &p), -EPROTO);
	}
	assert_int_equal(page(many, &last), -E2BIG);
}

static void reads_errors(void **state)
{
	static const char xml[] =
		"<Error><Code>NoSuchKey</Code><Message>The key\n\x7f is gone</Message>"
		"<Key>k</Key><Region>eu-west-1</Region><RequestId>R1</RequestId></Error>";
	struct call_failure f = {0};

	assert_int_equal(s3_xml_error(xml, strlen(xml), &f), 0);
	assert_string_equal(f.code, "NoSuchKey");
	assert_string_equal(f.message, "The key?? is gone");
	assert_string_equal(f.region, "eu-west-1");
	assert_string_equal(f.request_id, "R1");
	assert_int_equal(s3_xml_error("<html/>", 7, &f), -EPROTO);
	assert_int_equal(s3_xml_error("<Error>", 7, &f), -EPROTO);
	assert_int_equal(s3_xml_error("", 0, &f), -EPROTO);
}

static void error_texts_are_cut(void **state)
{
	_cleanup_free_ char *xml = repeat("<Error><Code>", "c", 5000, "</Code></Error>");
	struct call_failure f = {0};

	assert_int_equal(s3_xml_error(xml, strlen(xml), &f), 0);
	assert_int_equal(strlen(f.code), sizeof(f.code) - 1);
}

static void reads_upload_ids(void **state)
{
	static const char good[] = "<InitiateMultipartUploadResult" NS "><Bucket>b</Bucket>"
				   "<UploadId>a+/=</UploadId></InitiateMultipartUploadResult>";
	static const char *const bad[] = {
		"<InitiateMultipartUploadResult/>",
		"<InitiateMultipartUploadResult><UploadId/></InitiateMultipartUploadResult>",
		("<InitiateMultipartUploadResult><UploadId>a</UploadId><UploadId>b</UploadId>"
		 "</InitiateMultipartUploadResult>"),
		"<UploadId>a</UploadId>",
		"<Error/>",
	};
	_cleanup_free_ char *id = NULL;
	char *none = NULL;

	assert_int_equal(s3_xml_upload_id(good, strlen(good), &id), 0);
	assert_string_equal(id, "a+/=");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(s3_xml_upload_id(bad[i], strlen(bad[i]), &none), -EPROTO);
	assert_null(none);
}

static void reads_completions(void **state)
{
	static const char good[] = " \n \n<?xml version=\"1.0\"?><CompleteMultipartUploadResult" NS
				   "><ETag>x</ETag></CompleteMultipartUploadResult>";
	static const char failed[] = "   <?xml version=\"1.0\"?><Error><Code>InternalError</Code>"
				     "</Error>";

	assert_int_equal(s3_xml_complete(good, strlen(good)), 0);
	assert_int_equal(s3_xml_complete(failed, strlen(failed)), -EREMOTEIO);
	assert_int_equal(s3_xml_complete("   ", 3), -EPROTO);
	assert_int_equal(s3_xml_complete("<x/>", 4), -EPROTO);
	assert_int_equal(s3_xml_complete(good, strlen(good) - 5), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_a_page),
		cmocka_unit_test(keys_stay_as_they_are_without_encoding),
		cmocka_unit_test(encoding_may_follow_the_keys),
		cmocka_unit_test(bad_pages_are_refused),
		cmocka_unit_test(entities_are_not_expanded),
		cmocka_unit_test(sizes_are_bounded),
		cmocka_unit_test(reads_errors),
		cmocka_unit_test(error_texts_are_cut),
		cmocka_unit_test(reads_upload_ids),
		cmocka_unit_test(reads_completions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
