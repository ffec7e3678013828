/*
 * sealctl policy --probe: finds out, by dry runs, what KMS permits to these credentials. Proves
 * what a policy's text cannot: IAM policies, grants and organisation policies are judged, too.
 */
#include "attest/provider.h"
#include "crypto/base/json.h"
#include "crypto/base/printable.h"
#include "fs/aws/kms_arn.h"
#include "fs/aws/kms_policy.h"
#include "tools/common/output.h"
#include "tools/policy/policy_parts.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

#define RSA_BITS 2048
#define NONCE_SIZE 32
#define STEPS_MAX (KMS_DRY_RUN_OPERATIONS + 1)

enum step_answer { STEP_REFUSED, STEP_PERMITTED, STEP_NOT_ASKED, STEP_UNKNOWN };

struct step {
	const char *operation;
	bool attested, ignored; /* ignored: the server did not treat it as a dry run */
	enum step_answer answer;
	struct error why;
};

struct probe {
	struct aws *aws;
	const char *key;
	struct step steps[STEPS_MAX];
	size_t count;
};

static const char *answer_name(const struct step *s)
{
	static const char *const names[] = {
		[STEP_REFUSED] = "refused",
		[STEP_PERMITTED] = "permitted",
		[STEP_NOT_ASKED] = "not asked",
		[STEP_UNKNOWN] = "not answered",
	};

	return names[s->answer];
}

/* Fails only where the other questions would fail, too. */
static int ask(struct probe *p, enum kms_dry_run_operation operation, const uint8_t *document,
	       size_t size, struct error *err)
{
	struct step *s = &p->steps[p->count++];
	enum kms_dry_run_answer answer;
	struct error e = {0};
	int r = kms_dry_run(p->aws, p->key, operation, document, size, &answer, &s->why, &e);

	s->operation = kms_dry_run_name(operation);
	s->attested = size > 0;
	if (r == 0) {
		s->answer = answer == KMS_DRY_RUN_REFUSED ? STEP_REFUSED : STEP_PERMITTED;
		s->ignored = answer == KMS_DRY_RUN_IGNORED;
		return 0;
	}
	s->answer = STEP_UNKNOWN;
	s->why = e;
	if (r == -EINVAL || (s->attested && r == -EKEYREJECTED))
		return 0;
	if (err)
		*err = e;
	return r;
}

static inline void pkey_freep(EVP_PKEY **k)
{
	EVP_PKEY_free(*k);
}

/* A document for a key that is thrown away: nothing is decrypted. */
static int make_document(const char *tcti, uint8_t **ret, size_t *ret_size, struct error *err)
{
	_cleanup_(attest_provider_freep) struct attest_provider *provider = NULL;
	_cleanup_(pkey_freep) EVP_PKEY *key = EVP_RSA_gen(RSA_BITS);
	uint8_t nonce[NONCE_SIZE], *spki = NULL;
	struct attest_request req;
	int size = key ? i2d_PUBKEY(key, &spki) : -1, r;

	if (size <= 0 || RAND_bytes(nonce, sizeof(nonce)) != 1)
		return error_set(err, -EIO, "cannot make an RSA key");
	req = (struct attest_request){.nonce = nonce,
				      .nonce_size = sizeof(nonce),
				      .public_key = spki,
				      .public_key_size = (size_t)size};
	r = attest_provider_new(tcti, &provider, err);
	if (r == 0)
		r = attest_document(provider, &req, ret, ret_size, err);
	OPENSSL_free(spki);
	return r;
}

static int ask_attested(struct probe *p, const struct policy_settings *s, struct error *err)
{
	_cleanup_free_ uint8_t *document = NULL;
	size_t size = 0;
	int r;

	if (!s->attest) {
		p->steps[p->count++] = (struct step){
			.operation = "Decrypt", .attested = true, .answer = STEP_NOT_ASKED};
		return 0;
	}
	r = make_document(s->tcti, &document, &size, err);
	return r < 0 ? r : ask(p, KMS_DRY_RUN_DECRYPT, document, size, err);
}

/* Un-attested Decrypt refused and attested permitted: the document alone made the difference. */
static const char *conclusion(const struct step *attested)
{
	switch (attested->answer) {
	case STEP_PERMITTED:
		return "the document was judged: with it, and only with it, this caller may decrypt";
	case STEP_REFUSED:
		return "attested Decrypt: AWS does not document whether a dry run judges the document. "
		       "Either it does not, or this machine's PCRs do not fit; see --explain";
	case STEP_UNKNOWN:
		return "attested Decrypt: KMS did not answer this dry run with a document";
	default:
		return "attested Decrypt was not asked: use --attest on the instance";
	}
}

static json_t *step_json(const struct step *s)
{
	return json_pack("{s:s, s:b, s:s, s:b, s:o}", "operation", s->operation, "attested",
			 s->attested, "answer", answer_name(s), "dry_run_ignored", s->ignored,
			 "detail", s->why.code ? output_text(s->why.message) : json_null());
}

static int report(struct cli *cli, const struct probe *p, bool hole)
{
	const struct step *last = &p->steps[p->count - 1];
	bool says_more = !hole || last->answer != STEP_PERMITTED;
	json_t *steps = json_array();

	for (size_t i = 0; i < p->count; i++) {
		const struct step *s = &p->steps[i];

		if (cli->json) {
			output_append(&steps, step_json(s));
			continue;
		}
		print_safely(stdout, "  %-11s %-15s  %s%s\n",
			     s->attested ? "attested" : "un-attested", s->operation, answer_name(s),
			     s->ignored ? " (the server did not treat it as a dry run)" : "");
		if (s->answer == STEP_UNKNOWN)
			print_safely(stdout, "    %s\n", s->why.message);
	}
	if (!cli->json) {
		json_decref(steps);
		if (says_more)
			print_safely(stdout, "  %s\n", conclusion(last));
		return 0;
	}
	cli->failure_reported = true;
	return output_json(json_pack("{s:o, s:b, s:o, s:s}", "key", output_text(p->key), "hole",
				     hole, "steps", steps, "conclusion",
				     says_more ? conclusion(last) : ""));
}

/* A caller that may not decrypt at all is no runtime role: sealers may make data keys. */
static const struct step *find_hole(const struct probe *p)
{
	const struct step *last = &p->steps[p->count - 1];

	for (size_t i = 0; i < p->count; i++) {
		const struct step *s = &p->steps[i];
		bool sealer = i == KMS_DRY_RUN_GENERATE_DATA_KEY && last->answer != STEP_PERMITTED;

		if (!s->attested && s->answer == STEP_PERMITTED && !sealer)
			return s;
	}
	return NULL;
}

static int judge(const struct probe *p, const struct step *hole, struct error *err)
{
	const struct step *last = &p->steps[p->count - 1];

	if (hole) {
		error_hint(err,
			   "sealctl policy --check shows which statement opens it; a grant or an "
			   "IAM policy can, too");
		return error_set(err, -EKEYREJECTED,
				 "%s: KMS permits %s without an attestation document", p->key,
				 hole->operation);
	}
	if (last->answer == STEP_REFUSED)
		return error_set(err, -EKEYREJECTED, "%s", last->why.message);
	for (size_t i = 0; i < p->count; i++)
		if (p->steps[i].answer == STEP_UNKNOWN)
			return error_set(err, p->steps[i].why.code, "%s", p->steps[i].why.message);
	return 0;
}

int policy_probe(struct cli *cli, const struct policy_settings *s, struct error *err)
{
	_cleanup_free_ struct probe *p = calloc(1, sizeof(*p));
	const struct step *hole;
	struct kms_arn arn;
	int r;

	if (kms_arn_parse(s->probe, &arn) < 0)
		return cli_usage_error(cli, err, "\"%.200s\" is not the ARN of a KMS key",
				       s->probe);
	r = p ? cli_aws(cli, &p->aws, err) : -ENOMEM;
	if (r < 0)
		return r;
	p->key = s->probe;
	for (int op = 0; r == 0 && op < KMS_DRY_RUN_OPERATIONS; op++)
		r = ask(p, op, NULL, 0, err);
	if (r == 0)
		r = ask_attested(p, s, err);
	if (r < 0)
		return r;
	hole = find_hole(p);
	r = report(cli, p, hole != NULL);
	return r < 0 ? r : judge(p, hole, err);
}
