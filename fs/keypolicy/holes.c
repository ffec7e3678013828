/*
 * The names of holes, the consequence of each and its correction. The ids are part of the
 * interface: sealctl(1) lists them.
 */
#include "fs/keypolicy/lint.h"

static const struct {
	const char *id, *text, *cure;
} holes[HOLE_KINDS] = {
	[HOLE_UNATTESTED_DECRYPT] = {"unattested-decrypt",
				     "allows the key's use without an attestation document",
				     "condition it on the PCRs with StringEqualsIgnoreCase"},
	[HOLE_WILDCARD_PRINCIPAL] = {"wildcard-principal",
				     "allows everybody, also other accounts' instances",
				     "name the roles in Principal"},
	[HOLE_ACCOUNT_ROOT] = {"account-root", "lets IAM policies of the account give this away",
			       "name the owner's role, and only management actions"},
	[HOLE_SERVICE_PRINCIPAL] = {"service-principal",
				    "allows an AWS service, which attests nothing",
				    "remove the service; runtime roles ask KMS themselves"},
	[HOLE_IMAGE_MISSING] = {"image-missing", "accepts documents of other images",
				"pin NitroTPMPCR4, or PCR0 or ImageSha384 of an enclave, with "
				"StringEqualsIgnoreCase"},
	[HOLE_PCR12_MISSING] =
		{"pcr12-missing",
		 "does not pin NitroTPMPCR12: the kernel command line may be another",
		 "add NitroTPMPCR12 with 96 zeros to the condition"},
	[HOLE_IF_EXISTS] = {"if-exists", "applies to calls without a document: ...IfExists",
			    "use StringEqualsIgnoreCase"},
	[HOLE_STRING_LIKE] = {"string-like",
			      "fits documents of other images: its pattern has a wildcard",
			      "use StringEqualsIgnoreCase with the whole value"},
	[HOLE_FOR_ALL_VALUES] = {"for-all-values",
				 "applies to calls without a document: ForAllValues",
				 "use StringEqualsIgnoreCase, without ForAllValues"},
	[HOLE_NULL_CONDITION] = {"null-condition",
				 "asks with Null whether there is a document, not what it shows",
				 "use StringEqualsIgnoreCase with the PCR's value"},
	[HOLE_NEGATED_CONDITION] = {"negated-condition",
				    "applies to calls without a document: its condition is negated",
				    "use StringEqualsIgnoreCase in an Allow"},
	[HOLE_NOT_ACTION] = {"not-action",
			     "allows all actions but those in NotAction, also future ones",
			     "list the actions in Action"},
	[HOLE_NOT_PRINCIPAL] = {"not-principal", "speaks for everybody but those in NotPrincipal",
				"list the roles in Principal; in a Deny use \"*\""},
	[HOLE_NOT_RESOURCE] = {"not-resource",
			       "speaks of other keys than this one with NotResource",
			       "use \"Resource\": \"*\": the key itself"},
	[HOLE_GRANTS] = {"grants", "allows grants, which no condition of this policy restricts",
			 "remove kms:CreateGrant and deny it to everybody"},
	[HOLE_GRANTS_SERVICE] = {"grants-service",
				 "allows grants to AWS services, which no PCR condition restricts",
				 "remove kms:CreateGrant and deny it to everybody"},
	[HOLE_REENCRYPT] = {"reencrypt",
			    "allows kms:ReEncryptFrom, which carries the data key to another key",
			    "remove kms:ReEncrypt* and deny kms:ReEncryptFrom to everybody"},
	[HOLE_REPLICATE] = {"replicate",
			    "allows kms:ReplicateKey, whose caller writes the replica's policy",
			    "remove kms:ReplicateKey and deny it to everybody"},
	[HOLE_DATAKEY_PLAINTEXT] = {"datakey-plaintext",
				    "gives a runtime role new data keys in plaintext",
				    "leave kms:GenerateDataKey* to the sealer"},
	[HOLE_PUT_KEY_POLICY] =
		{"put-key-policy", "lets who uses the key replace this policy",
		 "leave kms:PutKeyPolicy to an owner's role that cannot use the key"},
	[HOLE_ZERO_ENCLAVE_PCR] = {"zero-enclave-pcr",
				   "accepts enclaves in debug mode, whose PCRs are all zero",
				   "give the values that nitro-cli build-enclave printed"},
	[HOLE_CASE] = {"case", "compares upper-case digits with case: KMS's values are lower-case",
		       "use StringEqualsIgnoreCase or StringNotEqualsIgnoreCase"},
	[HOLE_DENY_MISSES_UNATTESTED] = {"deny-misses-unattested",
					 "does not deny calls without a document",
					 "deny with StringNotEqualsIgnoreCase on one PCR key"},
};

const char *keypolicy_hole_id(enum keypolicy_hole_kind kind)
{
	return holes[kind].id;
}

const char *keypolicy_hole_text(enum keypolicy_hole_kind kind)
{
	return holes[kind].text;
}

const char *keypolicy_hole_cure(enum keypolicy_hole_kind kind)
{
	return holes[kind].cure;
}
