/*
 * Explaining refusals. Job: find the policy, compare it with the document, put it into words.
 * Trusts neither: the policy is parsed strictly, and the words are escaped where they are printed.
 * Must never turn a refusal into anything else, nor delay it for long.
 */
#include "fs/unlock/denial.h"

#include "attest/document.h"
#include "crypto/base/encode.h"
#include "crypto/base/fileio.h"
#include "crypto/base/json.h"
#include "crypto/base/log.h"
#include "fs/aws/kms_limits.h"
#include "fs/aws/kms_policy.h"
#include "fs/keypolicy/explain.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#define PCR_TEXT_MAX (2 * 64 + 1)
#define KMS_WORDS_MAX 500   /* of KMS's own message, so that the PCRs fit behind it */
#define KMS_WORDS_SHORT 340 /* so that also what the policy wants fits */
#define SUMMARY_MAX 680

struct denial {
	struct keypolicy *given; /* from the file; NULL: none */
	pthread_mutex_t lock;	 /* guards what follows, also while KMS is asked */
	struct keypolicy *asked; /* of the key below; NULL: not to be had */
	char arn[KMS_ARN_MAX + 1];
	time_t asked_s; /* CLOCK_BOOTTIME; 0: never */
};

static int read_policy(const char *path, struct keypolicy **ret, struct error *err)
{
	const size_t max = 2 * (size_t)KEYPOLICY_SIZE_MAX + 1; /* one more than is taken */
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *data = malloc(max);
	ssize_t n;

	if (!data)
		return error_set(err, -ENOMEM, "out of memory");
	n = fd < 0 ? -errno : file_read(fd, data, max);
	if (n < 0)
		return error_set(err, (int)n, "cannot read %s: %s", path, strerror((int)-n));
	return keypolicy_parse(data, (size_t)n, path, ret, err);
}

int denial_new(const char *path, struct denial **ret, struct error *err)
{
	_cleanup_(denial_freep) struct denial *d = calloc(1, sizeof(*d));
	int r = d ? 0 : error_set(err, -ENOMEM, "out of memory");

	if (d)
		pthread_mutex_init(&d->lock, NULL);
	if (r == 0 && path)
		r = read_policy(path, &d->given, err);
	if (r < 0)
		return r;
	*ret = steal_ptr(d);
	return 0;
}

void denial_free(struct denial *d)
{
	if (!d)
		return;
	keypolicy_free(d->given);
	keypolicy_free(d->asked);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

static void ask(struct denial *d, struct aws *aws, const char *arn, time_t now_s)
{
	_cleanup_free_ char *data = NULL;
	struct error err = {0};
	size_t size = 0;
	int r;

	keypolicy_free(steal_ptr(d->asked));
	(void)snprintf(d->arn, sizeof(d->arn), "%s", arn);
	d->asked_s = now_s;
	r = kms_get_key_policy(aws, arn, &data, &size, &err);
	if (r == 0)
		r = keypolicy_parse(data, size, arn, &d->asked, &err);
	if (r < 0)
		log_debug("no policy to explain a refusal: %s", error_text(&err, r));
}

static bool explain(const struct keypolicy *p, const struct attest_doc *doc, char out[SUMMARY_MAX])
{
	_cleanup_free_ struct explanation *e = calloc(1, sizeof(*e));
	_cleanup_json_ json_t *context = json_object();
	int r = e && context ? 0 : -ENOMEM;

	for (unsigned i = 0; r == 0 && i < DOCUMENT_PCRS_MAX; i++)
		if (doc->pcrs[i].present)
			r = explain_put_pcr(context, doc->kind == DOCUMENT_ENCLAVE, i,
					    doc->pcrs[i].value, doc->pcrs[i].size);
	if (r < 0)
		return false;
	keypolicy_explain(p, context, NULL, e);
	explain_summary(p, e, out, SUMMARY_MAX);
	return true;
}

/* True when there is a policy; *out says what it wants. */
static bool compare(struct denial *d, struct aws *aws, const char *arn,
		    const struct attest_doc *doc, char out[SUMMARY_MAX])
{
	struct timespec now;
	bool known;

	if (d->given)
		return explain(d->given, doc, out);
	clock_gettime(CLOCK_BOOTTIME, &now);
	pthread_mutex_lock(&d->lock);
	if (d->asked_s == 0 || now.tv_sec - d->asked_s >= DENIAL_ASK_S || strcmp(d->arn, arn) != 0)
		ask(d, aws, arn, now.tv_sec);
	known = d->asked && explain(d->asked, doc, out);
	pthread_mutex_unlock(&d->lock);
	return known;
}

static const char *pcr_text(const struct attest_doc *doc, unsigned pcr, char out[PCR_TEXT_MAX])
{
	if (doc->pcrs[pcr].present)
		hex_encode(doc->pcrs[pcr].value, doc->pcrs[pcr].size, out);
	else
		(void)snprintf(out, PCR_TEXT_MAX, "absent");
	return out;
}

void denial_explain(struct denial *d, struct aws *aws, const char *key_arn, const uint8_t *document,
		    size_t size, struct error *err)
{
	_cleanup_(document_freep) struct attest_doc *doc = NULL;
	char pcr4[PCR_TEXT_MAX], pcr7[PCR_TEXT_MAX], pcr12[PCR_TEXT_MAX], wanted[SUMMARY_MAX];
	struct error said;

	if (!err || document_parse(document, size, &doc, NULL) < 0)
		return;
	said = *err;
	error_clear(err);
	if (compare(d, aws, key_arn, doc, wanted)) {
		error_set(err, -EKEYREJECTED, "%.*s; this machine (%.60s) by the key policy: %s",
			  KMS_WORDS_SHORT, error_text(&said, -EKEYREJECTED), doc->module_id,
			  wanted);
	} else if (doc->kind == DOCUMENT_ENCLAVE) {
		error_set(err, -EKEYREJECTED, "%.*s; this enclave (%s) attests PCR 0 = %s",
			  KMS_WORDS_MAX, error_text(&said, -EKEYREJECTED), doc->module_id,
			  pcr_text(doc, 0, pcr4));
	} else {
		error_set(err, -EKEYREJECTED,
			  "%.*s; this machine (%s) attests PCR 4 = %s, PCR 7 = %s, PCR 12 = %s",
			  KMS_WORDS_MAX, error_text(&said, -EKEYREJECTED), doc->module_id,
			  pcr_text(doc, 4, pcr4), pcr_text(doc, 7, pcr7), pcr_text(doc, 12, pcr12));
	}
	if (said.hint[0])
		error_hint(err, "%s", said.hint);
	if (doc->kind == DOCUMENT_ENCLAVE)
		error_hint(err, "compare it with the conditions kms:RecipientAttestation:PCR0 or "
				"ImageSha384 in the key's policy (sealctl policy --explain); it "
				"changes with the enclave's image, and is zero in debug mode");
	error_hint(err,
		   "compare them with the NitroTPMPCR conditions in the key's policy (sealctl "
		   "policy --explain); they change with the boot image, Secure Boot settings and "
		   "kernel command line");
}
