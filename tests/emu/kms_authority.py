"""Who may do what with an emulated key: short policies of PCRs, or whole key policies (iam_policy.py).

A key with {"document": {...}} is judged by that document, as KMS does: the access key's principal, the
action, the key's ARN, and the context keys that KMS and IAM put into a request.
"""
import iam_policy
import kms_recipient
from kms_store import KmsError

ATTESTATION = "kms:RecipientAttestation:"


def principal_of(policy, account, access_key_id):
    """The session that an access key stands for; {"principals": {access key: ARN}} names others."""
    default = f"arn:aws:sts::{account}:assumed-role/emulated/{access_key_id}"
    return policy.get("principals", {}).get(access_key_id, default)


def role_of(principal):
    """aws:PrincipalArn: of a session, its role."""
    if ":assumed-role/" not in principal:
        return principal
    head, _, rest = principal.replace(":sts:", ":iam:", 1).partition(":assumed-role/")
    return f"{head}:role/{rest.split('/')[0]}"


def alias_of(name):
    """alias/NAME of an alias or its ARN; None of a key id or ARN: kms:RequestAlias is not there then."""
    _, found, rest = name.rpartition("alias/") if isinstance(name, str) else ("", "", "")
    return "alias/" + rest if found else None


def context_of(call, principal, key):
    account = principal.split(":")[4]
    context = {"kms:CallerAccount": account, "aws:PrincipalAccount": account,
               "aws:PrincipalArn": role_of(principal), "aws:PrincipalIsAWSService": "false",
               "aws:SecureTransport": "true"}
    for name, value in (call.context or {}).items():
        context[f"kms:EncryptionContext:{name}"] = value
    if call.context:
        context["kms:EncryptionContextKeys"] = sorted(call.context)
    if alias_of(call.body.get("KeyId")):
        context["kms:RequestAlias"] = alias_of(call.body["KeyId"])
    if key.aliases:
        context["kms:ResourceAliases"] = sorted(key.aliases)
    context["kms:MultiRegion"] = key.key_id.startswith("mrk-")
    if call.operation == "CreateGrant":
        context["kms:GrantIsForAWSResource"] = "false"
        context["kms:GranteePrincipal"] = call.body.get("GranteePrincipal", "")
        context["kms:GrantOperations"] = call.body.get("Operations", [])
    if call.recipient is not None and call.recipient.genuine:
        document = call.recipient.document
        prefix = ATTESTATION + ("NitroTPMPCR" if document.is_nitrotpm else "PCR")
        for index, value in document.pcrs.items():
            context[f"{prefix}{index}"] = value.hex()
        if not document.is_nitrotpm:
            context[ATTESTATION + "ImageSha384"] = document.pcrs[0].hex()
    return context


def authorize(call, key, key_arn, account, action):
    """Returns, or raises AccessDeniedException with KMS's words. action without "kms:"."""
    policy = key.policy
    principal = principal_of(policy, account, call.access_key_id)
    reason = f"because no resource-based policy allows the kms:{action} action"
    if "document" not in policy:
        allowed = kms_recipient.policy_allows(policy, action, call.access_key_id, call.recipient)
    elif call.recipient is not None and not call.recipient.genuine:
        allowed = False
    else:
        decision = iam_policy.decide(policy["document"], principal, "kms:" + action, key_arn,
                                     context_of(call, principal, key))
        # What is left to IAM is allowed here: the test's own account has such a policy.
        allowed = decision in ("allow", "iam")
        if decision == "deny":
            reason = "with an explicit deny in a resource-based policy"
        if decision == "unknown":
            reason = "because the emulator does not model this policy"
    if not allowed:
        raise KmsError("AccessDeniedException",
                       f"User: {principal} is not authorized to perform: kms:{action} on resource: "
                       f"{key_arn} {reason}")
