/*
 * fs/net/sigv4: AWS's 38 vectors in both forms (tests/vectors/sigv4), S3's examples from AWS's
 * documentation, and requests that must be refused.
 */
#include "fs/aws/sigv4.h"

#include "fs/net/dates.h"
#include "fs/net/text.h"
#include "tests/unit/test.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <string.h>

#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define VECTORS TEST_SOURCE_ROOT "/tests/vectors/sigv4"
#define HEADERS_MAX 24

struct vector {
	char *dir;
	json_t *context;
	char *text; /* request.txt, cut into pieces in place */
	char *method;
	char *path;
	char *query;
	struct http_header headers[HEADERS_MAX];
	size_t header_count;
	char *body;
	char stamp[DATE_BASIC_SIZE];
	char hash[SIGV4_HEX_SIZE];
	struct secret *key;
	int64_t time_s;
};

static char *read_case(const struct vector *v, const char *name)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_fclose_ FILE *f = NULL;
	char *text = calloc(1, 16384);
	size_t size;

	assert_true(asprintf(&path, "%s/%s", v->dir, name) > 0);
	f = fopen(path, "re");
	assert_non_null(f);
	size = fread(text, 1, 16383, f);
	assert_true(size < 16383);
	return text;
}

static const char *context_text(const struct vector *v, const char *name)
{
	return json_string_value(json_object_get(v->context, name));
}

static const char *credential(const struct vector *v, const char *name)
{
	return json_string_value(json_object_get(json_object_get(v->context, "credentials"), name));
}

static void add(struct vector *v, const char *name, const char *value)
{
	assert_true(v->header_count < HEADERS_MAX);
	v->headers[v->header_count++] = (struct http_header){name, value};
}

/* Header lines; a line that begins with white space continues the value before it. */
static char *parse_headers(struct vector *v, char *p)
{
	while (*p && *p != '\n') {
		char *end = p, *colon;

		do {
			end += strcspn(end, "\n");
			if (*end)
				end++;
		} while (*end == ' ' || *end == '\t');
		if (end > p && end[-1] == '\n')
			end[-1] = '\0';
		colon = strchr(p, ':');
		assert_non_null(colon);
		*colon = '\0';
		add(v, p, colon + 1);
		p = end;
	}
	return *p ? p + 1 : p;
}

static void load(struct vector *v, const char *name)
{
	char *line_end, *target_end;

	*v = (struct vector){0};
	assert_true(asprintf(&v->dir, VECTORS "/%s", name) > 0);
	v->text = read_case(v, "context.json");
	v->context = json_loads(v->text, 0, NULL);
	assert_non_null(v->context);
	free(v->text);
	v->text = read_case(v, "request.txt");
	line_end = strchr(v->text, '\n');
	assert_non_null(line_end);
	*line_end = '\0';
	v->method = v->text;
	v->path = strchr(v->text, ' ');
	*v->path++ = '\0';
	target_end = strstr(v->path, " HTTP/1.1");
	assert_non_null(target_end);
	*target_end = '\0';
	v->query = strchr(v->path, '?');
	if (v->query)
		*v->query++ = '\0';
	v->body = parse_headers(v, line_end + 1);
	assert_int_equal(date_parse_rfc3339(context_text(v, "timestamp"), &v->time_s), 0);
	date_format_basic(v->time_s, v->stamp);
	assert_int_equal(sigv4_hash(v->body, strlen(v->body), v->hash), 0);
	assert_int_equal(secret_new_from(credential(v, "secret_access_key"),
					 strlen(credential(v, "secret_access_key")), &v->key),
			 0);
}

static void unload(struct vector *v)
{
	free(v->dir);
	free(v->text);
	json_decref(v->context);
	secret_free(v->key);
}

static struct sigv4_request make_request(const struct vector *v)
{
	return (struct sigv4_request){.method = v->method,
				      .path = v->path,
				      .query = v->query,
				      .headers = v->headers,
				      .header_count = v->header_count,
				      .payload_hash = v->hash,
				      .path_rule =
					      json_is_true(json_object_get(v->context, "normalize"))
						      ? SIGV4_PATH_GENERAL
						      : SIGV4_PATH_S3,
				      .region = context_text(v, "region"),
				      .service = context_text(v, "service"),
				      .time_s = v->time_s,
				      .access_key_id = credential(v, "access_key_id"),
				      .secret_key = v->key};
}

static void assert_file(const struct vector *v, const char *name, const char *text)
{
	_cleanup_free_ char *want = read_case(v, name);

	if (strcmp(want, text) != 0)
		print_message("%s/%s\n", v->dir, name);
	assert_string_equal(text, want);
}

static bool sends_unsigned_token(const struct vector *v)
{
	return json_is_true(json_object_get(v->context, "omit_session_token"));
}

static void check_header_form(struct vector *v)
{
	_cleanup_(sigv4_steps_clear) struct sigv4_steps steps = {0};
	_cleanup_free_ char *authorization = NULL, *sent = NULL;
	struct sigv4_request req;

	add(v, "X-Amz-Date", v->stamp);
	if (json_is_true(json_object_get(v->context, "sign_body")))
		add(v, "x-amz-content-sha256", v->hash);
	if (credential(v, "token") && !sends_unsigned_token(v))
		add(v, "X-Amz-Security-Token", credential(v, "token"));
	req = make_request(v);
	assert_int_equal(sigv4_sign(&req, &authorization, &steps), 0);
	assert_file(v, "header-canonical-request.txt", steps.canonical_request);
	assert_file(v, "header-string-to-sign.txt", steps.string_to_sign);
	assert_file(v, "header-signature.txt", steps.signature);
	sent = read_case(v, "header-signed-request.txt");
	assert_non_null(strstr(sent, authorization));
}

static unsigned each_vector(void (*check)(struct vector *v))
{
	_cleanup_closedir_ DIR *d = opendir(VECTORS);
	const struct dirent *e;
	unsigned count = 0;

	assert_non_null(d);
	while ((e = readdir(d))) {
		struct vector v;

		if (e->d_name[0] == '.' || strcmp(e->d_name, "README.md") == 0)
			continue;
		load(&v, e->d_name);
		check(&v);
		unload(&v);
		count++;
	}
	return count;
}

static void header_vectors(void **state)
{
	assert_int_equal(each_vector(check_header_form), 38);
}

/* AWS, "Authenticating Requests: Using the Authorization Header", and the same with a query. */
#define S3_HOST "examplebucket.s3.amazonaws.com"
#define S3_KEY "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
#define S3_TIME_S 1369353600 /* 2013-05-24T00:00:00Z */

static struct sigv4_request s3_request(struct secret **key, const struct http_header *headers,
				       size_t count)
{
	assert_int_equal(secret_new_from(S3_KEY, strlen(S3_KEY), key), 0);
	return (struct sigv4_request){.method = "GET",
				      .path = "/",
				      .headers = headers,
				      .header_count = count,
				      .payload_hash = EMPTY_SHA256,
				      .path_rule = SIGV4_PATH_S3,
				      .region = "us-east-1",
				      .service = "s3",
				      .time_s = S3_TIME_S,
				      .access_key_id = "AKIAIOSFODNN7EXAMPLE",
				      .secret_key = *key};
}

static void s3_examples(void **state)
{
	static const char put_body[] = "Welcome to Amazon S3.";
	static char put_hash[SIGV4_HEX_SIZE];
	static const struct {
		const char *method, *path, *query, *hash, *signature;
		struct http_header extra[2];
		size_t extra_count;
	} cases[] = {
		{"GET",
		 "/test.txt",
		 NULL,
		 EMPTY_SHA256,
		 "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
		 {{"range", "bytes=0-9"}},
		 1},
		{"PUT",
		 "/test%24file.text",
		 NULL,
		 put_hash,
		 "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
		 {{"date", "Fri, 24 May 2013 00:00:00 GMT"},
		  {"x-amz-storage-class", "REDUCED_REDUNDANCY"}},
		 2},
		{"GET",
		 "/",
		 "lifecycle=",
		 EMPTY_SHA256,
		 "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
		 {{0}},
		 0},
		/* A parameter without "=" is the same parameter. */
		{"GET",
		 "/",
		 "lifecycle",
		 EMPTY_SHA256,
		 "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
		 {{0}},
		 0},
		{"GET",
		 "/",
		 "prefix=J&max-keys=2",
		 EMPTY_SHA256,
		 "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
		 {{0}},
		 0},
	};

	assert_int_equal(sigv4_hash(put_body, strlen(put_body), put_hash), 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(sigv4_steps_clear) struct sigv4_steps steps = {0};
		_cleanup_secret_ struct secret *key = NULL;
		_cleanup_free_ char *authorization = NULL;
		struct http_header headers[5] = {{"host", S3_HOST},
						 {"x-amz-content-sha256", cases[i].hash},
						 {"x-amz-date", "20130524T000000Z"}};
		struct sigv4_request req;

		memcpy(headers + 3, cases[i].extra, sizeof(cases[i].extra));
		req = s3_request(&key, headers, 3 + cases[i].extra_count);
		req.method = cases[i].method;
		req.path = cases[i].path;
		req.query = cases[i].query;
		req.payload_hash = cases[i].hash;
		assert_int_equal(sigv4_sign(&req, &authorization, &steps), 0);
		assert_string_equal(steps.signature, cases[i].signature);
	}
}

/* S3 keys are not normalised, and every spelling of a byte signs alike. */
static void s3_paths_are_kept(void **state)
{
	static const struct http_header host = {"host", S3_HOST};
	static const struct {
		const char *sent, *canonical;
	} cases[] = {
		{"", "/"},
		{"/a//b/../c/.", "/a//b/../c/."},
		{"/a%2fb", "/a/b"},
		{"/a%7eb+c", "/a~b%2Bc"},
		{"/%e1%88%b4", "/%E1%88%B4"},
		{"/a%20b%25", "/a%20b%25"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(sigv4_steps_clear) struct sigv4_steps steps = {0};
		_cleanup_secret_ struct secret *key = NULL;
		_cleanup_free_ char *authorization = NULL, *start = NULL;
		struct sigv4_request req = s3_request(&key, &host, 1);

		req.path = cases[i].sent;
		assert_int_equal(sigv4_sign(&req, &authorization, &steps), 0);
		assert_true(asprintf(&start, "GET\n%s\n", cases[i].canonical) > 0);
		assert_memory_equal(steps.canonical_request, start, strlen(start));
	}
}

static void general_paths_are_encoded_twice(void **state)
{
	static const struct http_header host = {"host", "example.amazonaws.com"};
	_cleanup_(sigv4_steps_clear) struct sigv4_steps steps = {0};
	_cleanup_secret_ struct secret *key = NULL;
	_cleanup_free_ char *authorization = NULL;
	struct sigv4_request req = s3_request(&key, &host, 1);

	req.path_rule = SIGV4_PATH_GENERAL;
	req.path = "/../a%20b/./c/../d/";
	assert_int_equal(sigv4_sign(&req, &authorization, &steps), 0);
	assert_memory_equal(steps.canonical_request, "GET\n/a%2520b/d/\n", 16);
}

static void hop_headers_are_not_signed(void **state)
{
	static const struct http_header headers[] = {
		{"Host", S3_HOST},	    {"Connection", "close"},
		{"Expect", "100-continue"}, {"User-Agent", "x"},
		{"Authorization", "old"},   {"Upgrade", "h2c"},
		{"X-Amzn-Trace-Id", "1"},   {"Transfer-Encoding", "chunked"}};
	_cleanup_secret_ struct secret *key = NULL;
	_cleanup_free_ char *authorization = NULL;
	struct sigv4_request req = s3_request(&key, headers, ARRAY_LEN(headers));

	assert_int_equal(sigv4_sign(&req, &authorization, NULL), 0);
	assert_non_null(strstr(authorization, "SignedHeaders=host,"));
}

static void refusals(void **state)
{
	static const struct http_header host = {"host", S3_HOST}, other = {"x-amz-date", "x"};
	_cleanup_secret_ struct secret *key = NULL, *key2 = NULL, *long_key = NULL;
	struct sigv4_request req = s3_request(&key, &other, 1);
	_cleanup_text_ struct text many = {0};
	char *authorization = NULL;

	assert_int_equal(sigv4_sign(&req, &authorization, NULL), -EINVAL);
	req = s3_request(&key2, &host, 1);
	req.path = "/a%2";
	assert_int_equal(sigv4_sign(&req, &authorization, NULL), -EINVAL);
	req.path = "/";
	req.query = "a=%zz";
	assert_int_equal(sigv4_sign(&req, &authorization, NULL), -EINVAL);
	for (int i = 0; i < 65; i++)
		text_append(&many, "a=b&");
	req.query = many.data;
	assert_int_equal(sigv4_sign(&req, &authorization, NULL), -EINVAL);
	req.query = NULL;
	assert_int_equal(secret_new(257, &long_key), 0);
	req.secret_key = long_key;
	assert_int_equal(sigv4_sign(&req, &authorization, NULL), -EINVAL);
	assert_null(authorization);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(header_vectors),
		cmocka_unit_test(s3_examples),
		cmocka_unit_test(s3_paths_are_kept),
		cmocka_unit_test(general_paths_are_encoded_twice),
		cmocka_unit_test(hop_headers_are_not_signed),
		cmocka_unit_test(refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
