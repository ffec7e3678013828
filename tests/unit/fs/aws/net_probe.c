/*
 * net_probe: s3.h and kms.h as a command, for tests/cases/net.py. Job: run one operation against
 * the configured endpoints, put bytes on standard output, and say how it ended: exit code 0, or one
 * line "ERRNO: message; hint" and the exit code that sealctl would give. Not installed.
 */
#include "crypto/base/encode.h"
#include "crypto/base/log.h"
#include "fs/aws/aws_internal.h"
#include "fs/aws/key_chain.h"
#include "fs/aws/kms.h"
#include "fs/aws/s3.h"
#include "fs/aws/sigv4.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

struct probe {
	struct aws *aws;
	int argc;
	char **argv; /* of the verb, without its name */
	struct error err;
};

static uint64_t number(const char *text)
{
	return strtoull(text, NULL, 10);
}

static unsigned env_number(const char *name)
{
	const char *value = getenv(name);

	return value ? (unsigned)number(value) : 0;
}

static int open_bucket(struct probe *p, struct s3 **ret)
{
	return s3_new(p->aws, p->argv[0], ret, &p->err);
}

static int read_file(const char *path, uint8_t **ret, size_t *ret_size)
{
	_cleanup_fclose_ FILE *f = fopen(path, "rbe");
	long size;

	if (!f || fseek(f, 0, SEEK_END) < 0 || (size = ftell(f)) < 0 || fseek(f, 0, SEEK_SET) < 0)
		return -errno;
	*ret = malloc((size_t)size + 1);
	*ret_size = (size_t)size;
	return *ret && fread(*ret, 1, *ret_size, f) == *ret_size ? 0 : -EIO;
}

static void print_object(const struct s3_object *o)
{
	printf("%" PRIu64 " %" PRId64 " %s %s\n", o->size, o->mtime_s, o->etag, o->key);
}

static int on_listed(void *arg, const struct s3_object *o)
{
	(void)arg;
	print_object(o);
	return 0;
}

static int verb_list(struct probe *p)
{
	_cleanup_(s3_freep) struct s3 *s = NULL;
	int r = open_bucket(p, &s);

	return r < 0 ? r : s3_list(s, p->argc > 1 ? p->argv[1] : "", on_listed, NULL, &p->err);
}

static int verb_head(struct probe *p)
{
	_cleanup_(s3_freep) struct s3 *s = NULL;
	_cleanup_(s3_object_clear) struct s3_object o = {0};
	int r = open_bucket(p, &s);

	if (r >= 0)
		r = s3_head(s, p->argv[1], &o, &p->err);
	if (r >= 0)
		print_object(&o);
	return r;
}

static int verb_get(struct probe *p)
{
	_cleanup_(s3_freep) struct s3 *s = NULL;
	_cleanup_free_ uint8_t *data = NULL;
	size_t size = 0, max = p->argc > 2 ? number(p->argv[2]) : 1 << 20;
	int r = open_bucket(p, &s);

	if (r >= 0)
		r = s3_get(s, p->argv[1], max, &data, &size, NULL, &p->err);
	if (r >= 0)
		fwrite(data, 1, size, stdout);
	return r;
}

/* range BUCKET KEY ETAG|- OFFSET SIZE */
static int verb_range(struct probe *p)
{
	_cleanup_(s3_freep) struct s3 *s = NULL;
	size_t size = number(p->argv[4]);
	_cleanup_free_ uint8_t *buf = malloc(size + 1);
	const char *etag = strcmp(p->argv[2], "-") == 0 ? NULL : p->argv[2];
	int r = open_bucket(p, &s);

	if (r >= 0)
		r = s3_get_range(s, p->argv[1], etag, number(p->argv[3]), size, buf, &p->err);
	if (r >= 0)
		fwrite(buf, 1, size, stdout);
	return r;
}

/* put BUCKET KEY FILE [create|ETAG] */
static int verb_put(struct probe *p)
{
	_cleanup_(s3_freep) struct s3 *s = NULL;
	_cleanup_free_ uint8_t *data = NULL;
	const char *if_match = p->argc > 3 ? p->argv[3] : NULL;
	char etag[S3_ETAG_MAX];
	size_t size;
	int r = open_bucket(p, &s);

	if (if_match && strcmp(if_match, "create") == 0)
		if_match = "";
	if (r >= 0)
		r = read_file(p->argv[2], &data, &size);
	if (r >= 0)
		r = s3_put(s, p->argv[1], data, size, if_match, etag, &p->err);
	if (r >= 0)
		puts(etag);
	return r;
}

static int verb_delete(struct probe *p)
{
	_cleanup_(s3_freep) struct s3 *s = NULL;
	int r = open_bucket(p, &s);

	return r < 0 ? r : s3_delete(s, p->argv[1], &p->err);
}

static int upload_parts(struct probe *p, struct s3 *s, const char *id, const uint8_t *data,
			size_t size, size_t part_size)
{
	unsigned count = (unsigned)MAX((size + part_size - 1) / part_size, 1);
	_cleanup_free_ char(*etags)[S3_ETAG_MAX] = calloc(count, sizeof(*etags));
	int r = 0;

	for (unsigned i = 0; i < count && r >= 0; i++)
		r = s3_multipart_part(s, p->argv[1], id, i + 1, data + i * part_size,
				      MIN(part_size, size - i * part_size), etags[i], &p->err);
	if (r >= 0)
		r = s3_multipart_complete(s, p->argv[1], id, (const char(*)[S3_ETAG_MAX])etags,
					  count, &p->err);
	return r;
}

/* multipart BUCKET KEY FILE PART_SIZE */
static int verb_multipart(struct probe *p)
{
	_cleanup_(s3_freep) struct s3 *s = NULL;
	_cleanup_free_ uint8_t *data = NULL;
	_cleanup_free_ char *id = NULL;
	size_t size;
	int r = open_bucket(p, &s);

	if (r >= 0)
		r = read_file(p->argv[2], &data, &size);
	if (r >= 0)
		r = s3_multipart_create(s, p->argv[1], &id, &p->err);
	if (r < 0)
		return r;
	r = upload_parts(p, s, id, data, size, number(p->argv[3]));
	if (r < 0)
		printf("abort %d\n", s3_multipart_abort(s, p->argv[1], id, NULL));
	return r;
}

struct bench {
	struct s3 *s;
	const char *key;
	size_t size;
	unsigned count;
	unsigned next;
	int result;
	struct error err;
	pthread_mutex_t lock;
};

static void *bench_thread(void *arg)
{
	struct bench *b = arg;
	uint8_t *buf = malloc(b->size);

	for (;;) {
		struct error err = {0};
		unsigned i = __atomic_fetch_add(&b->next, 1, __ATOMIC_RELAXED);
		int r;

		if (i >= b->count || !buf)
			break;
		r = s3_get_range(b->s, b->key, NULL, (uint64_t)i * b->size, b->size, buf, &err);
		if (r < 0) {
			pthread_mutex_lock(&b->lock);
			b->result = r;
			b->err = err;
			pthread_mutex_unlock(&b->lock);
			break;
		}
	}
	free(buf);
	return NULL;
}

/* bench BUCKET KEY THREADS RANGES SIZE: prints seconds. */
static int verb_bench(struct probe *p)
{
	_cleanup_(s3_freep) struct s3 *s = NULL;
	struct bench b = {.key = p->argv[1],
			  .count = (unsigned)number(p->argv[3]),
			  .size = number(p->argv[4]),
			  .lock = PTHREAD_MUTEX_INITIALIZER};
	unsigned threads = MIN((unsigned)number(p->argv[2]), 64);
	struct timespec from, to;
	pthread_t ids[64];
	int r = open_bucket(p, &s);

	if (r < 0)
		return r;
	b.s = s;
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (unsigned i = 0; i < threads; i++)
		if (pthread_create(&ids[i], NULL, bench_thread, &b) != 0)
			abort();
	for (unsigned i = 0; i < threads; i++)
		pthread_join(ids[i], NULL);
	clock_gettime(CLOCK_MONOTONIC, &to);
	p->err = b.err;
	printf("%.4f\n",
	       (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9);
	return b.result;
}

static void *cancel_thread(void *arg)
{
	struct probe *p = arg;
	char byte;

	/* The test writes a byte once the server has the request. */
	if (read(STDIN_FILENO, &byte, 1) == 1)
		aws_cancel(p->aws);
	return NULL;
}

/* cancel BUCKET KEY: like get, until standard input has a byte. */
static int verb_cancel(struct probe *p)
{
	pthread_t id;
	int r;

	if (pthread_create(&id, NULL, cancel_thread, p) != 0)
		abort();
	r = verb_get(p);
	pthread_join(id, NULL);
	return r;
}

static int print_key(const struct secret *key)
{
	char hash[SIGV4_HEX_SIZE];
	int r = sigv4_hash(secret_data(key), secret_size(key), hash);

	printf("key-sha256 %s\n", hash);
	return r;
}

static void print_blob(const uint8_t *blob, size_t size, const char *arn)
{
	_cleanup_free_ char *hex = malloc(2 * size + 1);

	hex_encode(blob, size, hex);
	printf("blob %s\narn %s\n", hex, arn);
}

static int file_id(const char *hex, uint8_t out[32])
{
	return hex_decode(hex, out, 32);
}

/* kms-generate KEY FILE-ID */
static int verb_kms_generate(struct probe *p)
{
	_cleanup_secret_ struct secret *key = NULL;
	_cleanup_free_ char *arn = NULL;
	uint8_t id[32], blob[KMS_BLOB_MAX];
	size_t size;
	int r = file_id(p->argv[1], id);

	if (r >= 0)
		r = kms_generate_data_key(p->aws, p->argv[0], id, &key, blob, &size, &arn, &p->err);
	if (r < 0)
		return r;
	print_blob(blob, size, arn);
	return print_key(key);
}

/* kms-encrypt KEY FILE-ID KEY-HEX */
static int verb_kms_encrypt(struct probe *p)
{
	_cleanup_secret_ struct secret *key = NULL;
	_cleanup_free_ char *arn = NULL;
	uint8_t id[32], blob[KMS_BLOB_MAX], plain[32];
	size_t size;
	int r = file_id(p->argv[1], id);

	if (r >= 0)
		r = hex_decode(p->argv[2], plain, sizeof(plain));
	if (r >= 0)
		r = secret_new_from(plain, sizeof(plain), &key);
	if (r >= 0)
		r = kms_encrypt(p->aws, p->argv[0], id, key, blob, &size, &arn, &p->err);
	if (r < 0)
		return r;
	print_blob(blob, size, arn);
	return print_key(key);
}

static int blob_argument(const char *hex, uint8_t **ret, size_t *ret_size)
{
	*ret_size = strlen(hex) / 2;
	*ret = malloc(*ret_size + 1);
	return hex_decode(hex, *ret, *ret_size);
}

/* kms-decrypt ARN FILE-ID BLOB-HEX */
static int verb_kms_decrypt(struct probe *p)
{
	_cleanup_secret_ struct secret *key = NULL;
	_cleanup_free_ uint8_t *blob = NULL;
	uint8_t id[32];
	size_t size;
	int r = file_id(p->argv[1], id);

	if (r >= 0)
		r = blob_argument(p->argv[2], &blob, &size);
	if (r >= 0)
		r = kms_decrypt(p->aws, p->argv[0], id, blob, size, &key, &p->err);
	return r < 0 ? r : print_key(key);
}

/* kms-attested ARN FILE-ID BLOB-HEX DOCUMENT-FILE: the envelope on standard output. */
static int verb_kms_attested(struct probe *p)
{
	_cleanup_free_ uint8_t *blob = NULL, *document = NULL, *envelope = NULL;
	size_t size, document_size, envelope_size;
	uint8_t id[32];
	int r = file_id(p->argv[1], id);

	if (r >= 0)
		r = blob_argument(p->argv[2], &blob, &size);
	if (r >= 0)
		r = read_file(p->argv[3], &document, &document_size);
	if (r >= 0)
		r = kms_decrypt_attested(p->aws, p->argv[0], id, blob, size, document,
					 document_size, &envelope, &envelope_size, &p->err);
	if (r >= 0)
		fwrite(envelope, 1, envelope_size, stdout);
	return r;
}

/* keys: which access key, from where. */
static int verb_keys(struct probe *p)
{
	struct credentials *c = NULL;
	int r = credential_chain_get(p->aws->chain, NULL, &c, &p->err);

	if (r >= 0)
		printf("%s %s\n", c->access_key_id, c->source);
	credentials_unref(c);
	return r;
}

static int verb_region(struct probe *p)
{
	char region[ENDPOINT_REGION_MAX];
	int r = aws_default_region(p->aws, region, &p->err);

	if (r >= 0)
		puts(region);
	return r;
}

/* repeat BUCKET KEY: reads lines; each asks for the object's first byte, in one process. */
static int verb_repeat(struct probe *p)
{
	_cleanup_(s3_freep) struct s3 *s = NULL;
	char line[16];
	int r = open_bucket(p, &s);

	while (r >= 0 && fgets(line, sizeof(line), stdin)) {
		uint8_t byte;

		error_clear(&p->err);
		r = s3_get_range(s, p->argv[1], NULL, 0, 1, &byte, &p->err);
		printf("%d %s\n", r, r < 0 ? p->err.message : "ok");
		fflush(stdout);
		r = 0;
	}
	return r;
}

static const struct {
	const char *name;
	int min_args;
	int (*run)(struct probe *p);
} verbs[] = {
	{"list", 1, verb_list},
	{"head", 2, verb_head},
	{"get", 2, verb_get},
	{"range", 5, verb_range},
	{"put", 3, verb_put},
	{"delete", 2, verb_delete},
	{"multipart", 4, verb_multipart},
	{"bench", 5, verb_bench},
	{"cancel", 2, verb_cancel},
	{"repeat", 2, verb_repeat},
	{"kms-generate", 2, verb_kms_generate},
	{"kms-encrypt", 3, verb_kms_encrypt},
	{"kms-decrypt", 3, verb_kms_decrypt},
	{"kms-attested", 4, verb_kms_attested},
	{"keys", 0, verb_keys},
	{"region", 0, verb_region},
};

/* What no program may choose, but a test must. */
static void configure(struct aws_config *c)
{
	if (getenv("PROBE_ATTEMPTS"))
		c->max_attempts = env_number("PROBE_ATTEMPTS");
	if (getenv("PROBE_STALL_MS"))
		c->stall_timeout_ms = env_number("PROBE_STALL_MS");
	if (getenv("PROBE_DEADLINE_MS"))
		c->deadline_ms = env_number("PROBE_DEADLINE_MS");
	if (getenv("PROBE_VIRTUAL_HOST"))
		c->style = ENDPOINT_STYLE_VIRTUAL;
}

static int run_verb(struct probe *p, const char *name)
{
	const struct aws_options options = {.anonymous = getenv("PROBE_ANONYMOUS") != NULL,
					    .request_payer = getenv("PROBE_REQUEST_PAYER") != NULL,
					    .sse = getenv("PROBE_SSE"),
					    .interactive = getenv("PROBE_INTERACTIVE") != NULL,
					    .profile = getenv("PROBE_PROFILE")};
	int r = aws_new(&options, &p->aws, &p->err);

	if (r < 0)
		return r;
	configure(&p->aws->config);
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
		if (strcmp(verbs[i].name, name) == 0 && p->argc >= verbs[i].min_args)
			return verbs[i].run(p);
	return error_set(&p->err, -EINVAL, "unknown verb, or too few arguments: %s", name);
}

int main(int argc, char **argv)
{
	struct probe p = {.argc = argc - 2, .argv = argv + 2};
	int r;

	if (argc < 2)
		return EXIT_CODE_USAGE;
	log_setup("net_probe", getenv("PROBE_DEBUG") ? LOG_DEBUG : LOG_NOTICE, false);
	r = run_verb(&p, argv[1]);
	fflush(stdout);
	if (r < 0)
		fprintf(stderr, "%s: %s%s%s\n", strerrorname_np(-r), error_text(&p.err, r),
			p.err.hint[0] ? "; " : "", p.err.hint);
	aws_free(p.aws);
	return (int)error_exit_code(r);
}
