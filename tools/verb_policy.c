/*
 * sealctl policy: key policies made, checked, explained and tried. Job here: options, and which of
 * the four is meant.
 */
#include "tools/policy/policy_parts.h"
#include "tools/verbs.h"

#include <errno.h>
#include <string.h>

enum {
	OPTION_MEASUREMENTS = CLI_LONG,
	OPTION_OWNER,
	OPTION_SEALER,
	OPTION_ROLE,
	OPTION_ENCLAVE,
	OPTION_CHECK,
	OPTION_EXPLAIN,
	OPTION_POLICY,
	OPTION_PROBE,
	OPTION_ATTEST,
	OPTION_TCTI,
};

static const struct cli_option options[] = {
	{OPTION_MEASUREMENTS, "measurements", "FILE",
	 "make a policy for this image: what nitro-tpm-pcr-compute\nor nitro-cli printed; repeatable"},
	{OPTION_OWNER, "owner", "ARN", "who manages the key, and cannot use it; repeatable"},
	{OPTION_SEALER, "sealer", "ARN", "who seals; repeatable; default: the owners"},
	{OPTION_ROLE, "role", "ARN",
	 "who unlocks, attested only; repeatable. With --explain:\nwho asks"},
	{OPTION_ENCLAVE, "enclave", NULL, "the measurements are of Nitro Enclaves"},
	{OPTION_CHECK, "check", "POLICY", "name the holes of a policy"},
	{OPTION_EXPLAIN, "explain", "DOC",
	 "show PCR by PCR whether --policy would accept this\nattestation document"},
	{OPTION_POLICY, "policy", "POLICY", "the policy for --explain"},
	{OPTION_PROBE, "probe", "KEY_ARN",
	 "ask KMS, by dry runs, what it permits without a document"},
	{OPTION_ATTEST, "attest", NULL, "--probe: also with a document of this machine's NitroTPM"},
	{OPTION_TCTI, "tcti", "TCTI", "which TPM; default: /dev/tpmrm0, /dev/tpm0"},
	{0},
};

static int add(struct cli *cli, const char **list, size_t max, size_t *count, struct error *err)
{
	if (*count == max)
		return cli_usage_error(cli, err, "an option occurs more than %zu times", max);
	list[(*count)++] = cli->value;
	return 0;
}

static int take_option(struct policy_settings *s, struct cli *cli, int id, struct error *err)
{
	switch (id) {
	case OPTION_MEASUREMENTS:
		return add(cli, s->measurements, POLICY_IMAGES_MAX, &s->measurement_count, err);
	case OPTION_OWNER:
		return add(cli, s->owners, POLICY_ARNS_MAX, &s->owner_count, err);
	case OPTION_SEALER:
		return add(cli, s->sealers, POLICY_ARNS_MAX, &s->sealer_count, err);
	case OPTION_ROLE:
		return add(cli, s->roles, POLICY_ARNS_MAX, &s->role_count, err);
	case OPTION_ENCLAVE:
		s->enclave = true;
		return 0;
	case OPTION_CHECK:
		s->check = cli->value;
		return 0;
	case OPTION_EXPLAIN:
		s->explain = cli->value;
		return 0;
	case OPTION_POLICY:
		s->policy = cli->value;
		return 0;
	case OPTION_PROBE:
		s->probe = cli->value;
		return 0;
	case OPTION_ATTEST:
		s->attest = true;
		return 0;
	default:
		s->tcti = cli->value;
		return 0;
	}
}

/* Exactly one of the four, and no option that belongs to another one. */
static int check_usage(const struct policy_settings *s, struct cli *cli, struct error *err)
{
	bool make = s->measurement_count > 0;

	if (make + !!s->check + !!s->explain + !!s->probe != 1)
		return cli_usage_error(cli, err,
				       "give one of --measurements, --check, --explain, --probe");
	if (make && (s->owner_count == 0 || s->role_count == 0))
		return cli_usage_error(cli, err, "--measurements needs --owner and --role");
	if (!make && (s->owner_count || s->sealer_count || s->enclave))
		return cli_usage_error(cli, err,
				       "--owner, --sealer and --enclave belong to --measurements");
	if (s->role_count && !make && !s->explain)
		return cli_usage_error(cli, err, "--role belongs to --measurements or --explain");
	if (s->explain && s->role_count > 1)
		return cli_usage_error(cli, err, "--explain takes one --role");
	if (!s->explain != !s->policy)
		return cli_usage_error(cli, err, "--explain and --policy belong together");
	if ((s->attest || s->tcti) && !s->probe)
		return cli_usage_error(cli, err, "--attest and --tcti belong to --probe");
	return 0;
}

static int run(struct cli *cli, struct error *err)
{
	struct policy_settings s = {0};
	int id, r = 0;

	while (r == 0 && (id = cli_next(cli, err)) != 0)
		r = id < 0 ? id : take_option(&s, cli, id, err);
	if (r == 0 && cli_operands(cli) > 0)
		r = cli_usage_error(cli, err, "\"%s\" is not expected", cli_operand(cli, 0));
	if (r == 0)
		r = check_usage(&s, cli, err);
	if (r < 0)
		return r;
	if (s.check)
		return policy_check(cli, &s, err);
	if (s.explain)
		return policy_explain(cli, &s, err);
	return s.probe ? policy_probe(cli, &s, err) : policy_make(cli, &s, err);
}

const struct verb verb_policy = {
	.name = "policy",
	.summary = "make, check, explain and try KMS key policies",
	.usage = "--measurements FILE… --owner ARN… --role ARN… [OPTIONS]\n"
		 "--check POLICY\n"
		 "--explain DOC --policy POLICY [--role ARN]\n"
		 "--probe KEY_ARN [--attest]",
	.help = "Makes a key policy that lets only the measured images unlock models; names the holes\n"
		"of a policy; shows why a policy refuses a document; or tries a live key, with the\n"
		"credentials of a runtime role. POLICY is a file, \"-\", or the ARN of a key, which KMS\n"
		"is then asked for.",
	.options = options,
	.uses_aws = true,
	.run = run,
};
