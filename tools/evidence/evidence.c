/*
 * Evidence. Job: put together what belongs together: a document, and the log that explains its PCR.
 * Trusts the provider to return the requested document. Must never keep a document: each
 * asker's nonce needs a new one.
 */
#include "tools/evidence/evidence.h"

#include "attest/event_log.h"
#include "attest/provider.h"
#include "attest/runtime_dir.h"
#include "crypto/base/encode.h"
#include "crypto/base/json.h"
#include "crypto/base/printable.h"
#include "crypto/name.h"
#include "tools/evidence/evidence_mounts.h"

#include <errno.h>
#include <string.h>

/* What a service that may not read systemd's log gets a copy of it as (systemd.exec(5),
 * LoadCredential=). */
#define SYSTEMD_CREDENTIAL "systemd-tpm2-measure.log"
#define ATTEMPTS 3

struct evidence_maker {
	struct evidence_options options;
	struct attest_provider *provider;
	char *event_log, *systemd_log;
};

struct blob {
	uint8_t *bytes;
	size_t size;
};

static void blob_clear(struct blob *b)
{
	free(steal_ptr(b->bytes));
	b->size = 0;
}

static char *systemd_log_path(const struct evidence_options *o)
{
	const char *folder = getenv("CREDENTIALS_DIRECTORY");
	char *path = NULL;

	if (o->systemd_log)
		return strdup(o->systemd_log);
	if (folder && asprintf(&path, "%s/" SYSTEMD_CREDENTIAL, folder) < 0)
		return NULL;
	if (path && access(path, R_OK) == 0)
		return path;
	free(path);
	return strdup(SYSTEMD_LOG);
}

int evidence_maker_new(const struct evidence_options *options, struct evidence_maker **ret,
		       struct error *err)
{
	_cleanup_(evidence_maker_freep) struct evidence_maker *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return -ENOMEM;
	m->options = *options;
	if (options->event_log)
		m->event_log = strdup(options->event_log);
	else if (asprintf(&m->event_log, "%s/" EVENT_LOG_NAME, runtime_dir()) < 0)
		m->event_log = NULL;
	m->systemd_log = systemd_log_path(options);
	if (!m->event_log || !m->systemd_log)
		return -ENOMEM;
	r = attest_provider_new(options->tcti, &m->provider, err);
	if (r == 0)
		*ret = steal_ptr(m);
	return r;
}

void evidence_maker_free(struct evidence_maker *m)
{
	if (!m)
		return;
	attest_provider_free(m->provider);
	free(m->event_log);
	free(m->systemd_log);
	free(m);
}

const char *evidence_event_log(const struct evidence_maker *m)
{
	return m->event_log;
}

const char *evidence_systemd_log(const struct evidence_maker *m)
{
	return m->systemd_log;
}

/* A log that does not exist yet has no records. */
static int read_log(const struct evidence_maker *m, struct blob *ret, struct error *err)
{
	int r = event_log_copy(m->event_log, &ret->bytes, &ret->size, err);

	return r == -ENOENT ? 0 : r;
}

static bool same(const struct blob *a, const struct blob *b)
{
	return a->size == b->size && (a->size == 0 || memcmp(a->bytes, b->bytes, a->size) == 0);
}

/* No lock is held meanwhile: measuring has priority. */
static int make_document(struct evidence_maker *m, const struct attest_request *request,
			 struct blob *ret, struct blob *ret_log, struct error *err)
{
	int r = read_log(m, ret_log, err);

	for (unsigned i = 0; r == 0 && i < ATTEMPTS; i++) {
		_cleanup_(blob_clear) struct blob before = *ret_log;

		*ret_log = (struct blob){0};
		blob_clear(ret);
		r = attest_document(m->provider, request, &ret->bytes, &ret->size, err);
		if (r == 0)
			r = read_log(m, ret_log, err);
		if (r == 0 && same(&before, ret_log))
			return 0;
	}
	return r < 0 ? r
		     : error_set(err, -EAGAIN, "models are being measured; ask again in a moment");
}

/* NULL: no memory. */
static json_t *encoded(const struct blob *b)
{
	_cleanup_free_ char *text = base64_encode(b->size ? (const void *)b->bytes : "", b->size);

	return text ? json_string(text) : NULL;
}

static json_t *systemd_log(const struct evidence_maker *m)
{
	_cleanup_(blob_clear) struct blob log = {0};
	struct error err = {0};

	/* Machines that were not booted from a measured image have none, and it may be root's. The
	 * unit then gives us a credential that is no log. */
	if (event_log_copy(m->systemd_log, &log.bytes, &log.size, &err) < 0 || log.size == 0 ||
	    log.bytes[0] != EVENT_RECORD_BEGIN)
		return json_null();
	return encoded(&log);
}

static int print(const json_t *value, char **ret, size_t *ret_size)
{
	FILE *to = open_memstream(ret, ret_size);
	int r = to ? json_print(value, to) : -ENOMEM;

	if (to && fclose(to) != 0)
		r = -ENOMEM;
	return r;
}

int evidence_make(struct evidence_maker *m, const struct attest_request *request, char **ret,
		  size_t *ret_size, struct error *err)
{
	_cleanup_(blob_clear) struct blob document = {0}, log = {0};
	_cleanup_json_ json_t *seals = json_array(), *sets = json_array(), *mounts = json_array();
	_cleanup_json_ json_t *whole = NULL;
	_cleanup_free_ char *text = NULL;
	size_t size = 0;
	int r = make_document(m, request, &document, &log, err);

	if (r == 0)
		r = evidence_mounts_add(m->event_log, mounts, seals, sets);
	if (r < 0)
		return r;
	whole = json_pack("{s:i, s:o, s:i, s:o, s:o, s:O, s:O, s:O}", "sealedfs_evidence", 1,
			  "document", encoded(&document), "pcr", (int)m->options.pcr, "event_log",
			  encoded(&log), "systemd_log", systemd_log(m), "seals", seals, "sets",
			  sets, "mounts", mounts);
	r = whole ? print(whole, &text, &size) : -ENOMEM;
	if (r < 0)
		return r;
	if (size > EVIDENCE_SIZE_MAX)
		return error_set(err, -EFBIG, "the evidence has %zu bytes and may have %zu", size,
				 EVIDENCE_SIZE_MAX);
	*ret = steal_ptr(text);
	*ret_size = size;
	return 0;
}

json_t *evidence_mounts(struct evidence_maker *m)
{
	json_t *mounts = json_array();

	if (mounts && evidence_mounts_add(m->event_log, mounts, NULL, NULL) == 0)
		return mounts;
	json_decref(mounts);
	return NULL;
}

static void print_mount(const json_t *mount, FILE *to)
{
	const char *why = json_text(mount, "error");
	const json_t *models = json_object_get(mount, "models");
	char name[NAME_PRINTABLE_SIZE];

	name_printable(json_text(mount, "path"), name);
	if (why) {
		print_safely(to, "%s: %s\n", name, why);
		return;
	}
	print_safely(to, "%s: %zu of %lld models unlocked\n", name, json_array_size(models),
		     (long long)json_integer_value(json_object_get(mount, "files")));
	for (size_t i = 0; i < json_array_size(models); i++) {
		const json_t *model = json_array_get(models, i);
		const char *event = json_text(model, "measured");

		name_printable(json_text(model, "name"), name);
		print_safely(to, "  %s: %s%s%s\n", name, json_text(model, "state"),
			     event ? ", " : "", event ? event : "");
	}
}

int evidence_text(struct evidence_maker *m, char **ret, size_t *ret_size)
{
	_cleanup_json_ json_t *mounts = evidence_mounts(m);
	FILE *to = mounts ? open_memstream(ret, ret_size) : NULL;

	if (!to)
		return -ENOMEM;
	print_safely(
		to,
		"What is mounted, as this machine says it. Proof: sealctl verify --from URL\n\n");
	if (json_array_size(mounts) == 0)
		print_safely(to, "nothing\n");
	for (size_t i = 0; i < json_array_size(mounts); i++)
		print_mount(json_array_get(mounts, i), to);
	return fclose(to) == 0 ? 0 : -ENOMEM;
}
