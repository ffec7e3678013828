#!/usr/bin/python3
"""Makes decisions.json, holes.json and published.json again. README.md has their form.

Every expectation is written down here by hand, from IAM's and KMS's documentation; nothing is computed.
"""

import copy
import json
import os

HERE = os.path.dirname(os.path.abspath(__file__))
OWNER = "arn:aws:iam::111122223333:role/model-owner-admin"
SEALER = "arn:aws:iam::111122223333:role/model-owner-seal"
RUNTIME = "arn:aws:iam::444455556666:role/model-consumer"
SESSION = "arn:aws:sts::444455556666:assumed-role/model-consumer/i-0123456789abcdef0"
ROOT = "arn:aws:iam::111122223333:root"
KEY = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
A, B, C, ZERO = "4a" * 48, "7b" * 48, "c1" * 48, "00" * 48
ATT = "kms:RecipientAttestation:"
P4, P7, P12 = ATT + "NitroTPMPCR4", ATT + "NitroTPMPCR7", ATT + "NitroTPMPCR12"
E0, E1, E2, E8, IMAGE = ATT + "PCR0", ATT + "PCR1", ATT + "PCR2", ATT + "PCR8", ATT + "ImageSha384"
RIGHT = {P4: A, P7: B, P12: ZERO}
PINNED = {"StringEqualsIgnoreCase": RIGHT}


def statement(effect, who, actions, condition=None, **more):
    made = {"Effect": effect, "Principal": who if who == "*" else {"AWS": who}, "Action": actions,
            "Resource": "*"}
    if condition is not None:
        made["Condition"] = condition
    made.update(more)
    return {name: value for name, value in made.items() if value is not None}


def allow(who, actions, condition=None, **more):
    return statement("Allow", who, actions, condition, **more)


def deny(who, actions, condition=None, **more):
    return statement("Deny", who, actions, condition, **more)


def policy(*statements):
    return {"Version": "2012-10-17", "Statement": list(statements)}


def ask(expect, action="kms:Decrypt", principal=SESSION, resource=KEY, **context):
    return {"principal": principal, "action": action, "resource": resource,
            "context": context.pop("context", context), "expect": expect}


def case(name, made, *requests):
    return {"name": name, "policy": made, "requests": list(requests)}


def operator(name, condition, *requests):
    """Whether an Allow with this condition applies: (expected, context)."""
    return case(name, policy(allow(RUNTIME, "kms:Decrypt", condition)),
                *[ask(expect, context=context) for expect, context in requests])


DECISIONS = [
    case("principals", policy(
        allow(RUNTIME, "kms:Decrypt"), allow(ROOT, "kms:Encrypt"), allow("999900001111", "kms:Sign"),
        allow(None, "kms:Verify", Principal={"Service": ["s3.amazonaws.com", "ec2.amazonaws.com"]}),
        allow("arn:aws:iam::444455556666:role/path/to/deep", "kms:GetKeyPolicy"),
        allow("*", "kms:DescribeKey")),
         ask("allow"), ask("allow", principal=RUNTIME),
         ask("none", principal="arn:aws:iam::444455556666:role/model-consumer2"),
         ask("none", principal="arn:aws:iam::444455556667:role/model-consumer"),
         ask("none", principal="arn:aws:iam::444455556666:user/model-consumer"),
         ask("none", principal="arn:aws:sts::444455556666:assumed-role/model-consume/x"),
         ask("none", principal="arn:aws-cn:sts::444455556666:assumed-role/model-consumer/x"),
         ask("none", principal="arn:aws:sts::444455556666:federated-user/model-consumer"),
         ask("iam", "kms:Encrypt", OWNER), ask("allow", "kms:Encrypt", ROOT), ask("none", "kms:Encrypt"),
         ask("iam", "kms:Sign", "arn:aws:iam::999900001111:user/x"),
         ask("none", "kms:Sign", "arn:aws:iam::999900001112:user/x"),
         ask("allow", "kms:Verify", "ec2.amazonaws.com"), ask("none", "kms:Verify", "rds.amazonaws.com"),
         ask("allow", "kms:GetKeyPolicy", "arn:aws:sts::444455556666:assumed-role/deep/s"),
         ask("none", "kms:GetKeyPolicy", "arn:aws:sts::444455556666:assumed-role/path/s"),
         ask("allow", "kms:DescribeKey", "arn:aws:iam::000011112222:user/anybody"),
         ask("allow", "kms:DescribeKey", "rds.amazonaws.com")),
    case("not-principal", policy(allow(None, "kms:Decrypt", Principal=None, NotPrincipal={"AWS": [OWNER, ROOT]})),
         ask("allow"), ask("none", principal=OWNER)),
    case("not-principal in a deny", policy(
        allow("*", "kms:Decrypt"),
        deny(None, "kms:Decrypt", Principal=None,
             NotPrincipal={"AWS": [RUNTIME, "arn:aws:iam::444455556666:root"]})),
         ask("allow"), ask("deny", principal=OWNER)),
    case("actions", policy(
        allow(RUNTIME, ["kms:decrypt", "kms:Gen*", "kms:?escribeKey"]),
        allow(OWNER, None, Action=None, NotAction=["kms:Decrypt", "kms:Put*"])),
         ask("allow"), ask("allow", "kms:GenerateDataKeyPair"), ask("allow", "kms:GENERATERANDOM"),
         ask("none", "kms:Encrypt"), ask("allow", "kms:DescribeKey"), ask("none", "kms:EscribeKey"),
         ask("none", principal=OWNER), ask("none", "kms:PutKeyPolicy", OWNER),
         ask("allow", "kms:CreateGrant", OWNER)),
    case("resources", policy(
        allow(RUNTIME, "kms:Decrypt", Resource=KEY), allow(RUNTIME, "kms:Encrypt", Resource=KEY + "0"),
        allow(RUNTIME, "kms:Sign", Resource="arn:aws:kms:*:111122223333:key/*"),
        allow(RUNTIME, "kms:Verify", Resource=None, NotResource=KEY)),
         ask("allow"), ask("none", "kms:Encrypt"), ask("allow", "kms:Sign"), ask("none", "kms:Verify"),
         ask("allow", "kms:Verify", resource=KEY[:-1] + "c")),
    case("a deny outweighs", policy(
        allow(RUNTIME, "kms:*"), deny("*", "kms:Decrypt", {"StringNotEqualsIgnoreCase": {P4: [A, C]}}),
        deny("arn:aws:iam::444455556666:root", "kms:CreateGrant")),
         ask("deny"), ask("deny", context={P4: B}), ask("allow", context={P4: A}),
         ask("allow", context={P4: C}), ask("allow", "kms:Encrypt"), ask("deny", "kms:CreateGrant")),
    case("all conditions of a deny must hold", policy(
        allow(RUNTIME, "kms:Decrypt"), deny("*", "kms:Decrypt", {"StringNotEquals": {P4: A, P12: ZERO}})),
         ask("deny"), ask("allow", context={P4: A, P12: C}), ask("deny", context={P4: C, P12: C})),
    case("README", policy(
        allow(OWNER, ["kms:Get*", "kms:PutKeyPolicy"]), allow(SEALER, "kms:GenerateDataKey"),
        allow(RUNTIME, "kms:Decrypt", PINNED),
        deny("*", "kms:Decrypt", {"StringNotEqualsIgnoreCase": {P4: A}}), deny("*", "kms:CreateGrant")),
         ask("deny"), ask("allow", context=RIGHT), ask("none", context={**RIGHT, P12: C}),
         ask("deny", context={**RIGHT, P4: C}), ask("none", principal=OWNER, context=RIGHT),
         ask("deny", principal=OWNER), ask("deny", "kms:CreateGrant", OWNER),
         ask("allow", "kms:GenerateDataKey", SEALER), ask("none", "kms:GenerateDataKey")),
    operator("StringEquals", {"StringEquals": {P4: A}},
             ("none", {}), ("allow", {P4: A}), ("none", {P4: A.upper()}), ("allow", {P4.upper(): A})),
    operator("StringEquals, upper case", {"StringEquals": {P4: A.upper()}}, ("none", {P4: A})),
    operator("StringEqualsIgnoreCase", {"StringEqualsIgnoreCase": {P4: A.upper()}},
             ("none", {}), ("allow", {P4: A}), ("none", {P4: B})),
    operator("StringNotEquals", {"StringNotEquals": {P4: [A, B]}},
             ("allow", {}), ("none", {P4: A}), ("none", {P4: B}), ("allow", {P4: C})),
    operator("StringEqualsIfExists", {"StringEqualsIfExists": {P4: A}},
             ("allow", {}), ("allow", {P4: A}), ("none", {P4: B})),
    operator("StringNotEqualsIfExists", {"StringNotEqualsIfExists": {P4: A}},
             ("allow", {}), ("none", {P4: A}), ("allow", {P4: B})),
    operator("StringLike", {"StringLike": {P4: ["4a*", "7?7b*"]}},
             ("none", {}), ("allow", {P4: A}), ("allow", {P4: B}), ("none", {P4: C})),
    operator("StringLike is strict about case", {"StringLike": {P4: "4A*"}}, ("none", {P4: A})),
    operator("StringLike *", {"StringLike": {P4: "*"}}, ("none", {}), ("allow", {P4: C})),
    operator("StringNotLike", {"StringNotLike": {P4: "4a*"}},
             ("allow", {}), ("none", {P4: A}), ("allow", {P4: B})),
    operator("no wildcards in StringEquals", {"StringEquals": {P4: "*"}}, ("none", {P4: A})),
    operator("ForAllValues", {"ForAllValues:StringEquals": {"kms:GrantOperations": ["Decrypt", "Encrypt"]}},
             ("allow", {}), ("allow", {"kms:GrantOperations": []}),
             ("allow", {"kms:GrantOperations": ["Decrypt"]}),
             ("none", {"kms:GrantOperations": ["Decrypt", "Sign"]})),
    operator("ForAllValues, negated", {"ForAllValues:StringNotEquals": {"kms:GrantOperations": ["Decrypt"]}},
             ("allow", {}), ("none", {"kms:GrantOperations": ["Sign", "Decrypt"]}),
             ("allow", {"kms:GrantOperations": ["Sign", "Verify"]})),
    operator("ForAnyValue", {"ForAnyValue:StringEquals": {"kms:GrantOperations": ["Decrypt", "Encrypt"]}},
             ("none", {}), ("allow", {"kms:GrantOperations": ["Sign", "Encrypt"]}),
             ("none", {"kms:GrantOperations": ["Sign"]})),
    operator("ForAnyValue, negated", {"ForAnyValue:StringNotEquals": {"kms:GrantOperations": ["Decrypt"]}},
             ("none", {}), ("allow", {"kms:GrantOperations": ["Sign", "Decrypt"]}),
             ("none", {"kms:GrantOperations": ["Decrypt"]})),
    operator("ForAllValues of a single value", {"ForAllValues:StringEquals": {P4: A}},
             ("allow", {}), ("allow", {P4: A}), ("none", {P4: B})),
    operator("Null true", {"Null": {P4: "true"}}, ("allow", {}), ("none", {P4: A}), ("allow", {P4: []})),
    operator("Null false", {"Null": {P4: "false"}}, ("none", {}), ("allow", {P4: A})),
    operator("Null, a JSON Boolean", {"Null": {P4: False}}, ("none", {}), ("allow", {P4: A})),
    operator("Bool", {"Bool": {"kms:GrantIsForAWSResource": "true"}},
             ("none", {}), ("allow", {"kms:GrantIsForAWSResource": "true"}),
             ("none", {"kms:GrantIsForAWSResource": "false"})),
    operator("BoolIfExists", {"BoolIfExists": {"aws:MultiFactorAuthPresent": True}},
             ("allow", {}), ("none", {"aws:MultiFactorAuthPresent": "false"})),
    operator("ArnLike", {"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/model-*"}},
             ("none", {}), ("allow", {"aws:PrincipalArn": RUNTIME}),
             ("none", {"aws:PrincipalArn": "arn:aws:iam::444455556666:user/model-x"})),
    operator("ArnEquals takes patterns, and none reaches over a colon",
             {"ArnEquals": {"aws:PrincipalArn": "arn:aws:iam:*:role/model-*"}},
             ("none", {"aws:PrincipalArn": RUNTIME})),
    operator("a star in place of several parts of an ARN", {"ArnLike": {"aws:PrincipalArn": ["*", "arn:aws:*"]}},
             ("none", {}), ("unknown", {"aws:PrincipalArn": RUNTIME})),
    operator("ArnNotLike", {"ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::111122223333:*"}},
             ("allow", {}), ("allow", {"aws:PrincipalArn": RUNTIME}), ("none", {"aws:PrincipalArn": OWNER})),
    operator("numbers", {"NumericLessThanEquals": {"kms:RotationPeriodInDays": 90},
                         "NumericGreaterThan": {"kms:RotationPeriodInDays": "30"}},
             ("none", {}), ("allow", {"kms:RotationPeriodInDays": "90"}),
             ("none", {"kms:RotationPeriodInDays": "91"}), ("none", {"kms:RotationPeriodInDays": "30"})),
    operator("NumericNotEquals", {"NumericNotEquals": {"kms:RotationPeriodInDays": [90, 180]}},
             ("allow", {}), ("none", {"kms:RotationPeriodInDays": "180.0"}),
             ("allow", {"kms:RotationPeriodInDays": "91"})),
    operator("operators and keys are all needed",
             {"StringEquals": {P4: A, P7: B}, "Bool": {"aws:SecureTransport": "true"}},
             ("none", {P4: A, P7: B}), ("none", {P4: A, "aws:SecureTransport": "true"}),
             ("allow", {P4: A, P7: B, "aws:SecureTransport": "true"})),
    operator("what cannot be judged", {"StringEquals": {"aws:PrincipalTag/a": "${aws:username}"}},
             ("unknown", {"aws:PrincipalTag/a": "b"}), ("none", {})),
    operator("an operator of another day", {"StringResembles": {P4: A}}, ("unknown", {P4: A})),
    case("a deny that cannot be judged", policy(
        allow(RUNTIME, "kms:Decrypt"), deny("*", "kms:Decrypt", {"StringResembles": {P4: A}})),
         ask("unknown", context={P4: A}), ask("none", "kms:Encrypt", context={P4: A})),
]

# What a complete policy has besides the statement that is looked at.
OWNER_PART = allow(OWNER, ["kms:Describe*", "kms:Get*", "kms:PutKeyPolicy"])
SEALER_PART = allow(SEALER, ["kms:GenerateDataKey", "kms:Encrypt"])
RUNTIME_PART = allow(RUNTIME, "kms:Decrypt", PINNED)
UNATTESTED = deny("*", "kms:Decrypt", {"StringNotEqualsIgnoreCase": {P4: A}})


def runtime(condition, who=RUNTIME, **more):
    return policy(OWNER_PART, SEALER_PART, allow(who, "kms:Decrypt", condition, **more))


def extra(made):
    return policy(OWNER_PART, SEALER_PART, RUNTIME_PART, made)


def enclave(values):
    return policy(OWNER_PART, SEALER_PART,
                  allow(RUNTIME, "kms:Decrypt", {"StringEqualsIgnoreCase": values}))


def hole(name, made, *found):
    return {"name": name, "policy": made, "holes": list(found)}


HOLES = [
    hole("none", policy(OWNER_PART, SEALER_PART, RUNTIME_PART)),
    hole("none, with a deny", extra(UNATTESTED)),
    hole("none, several images", runtime({"StringEqualsIgnoreCase": {P4: [A, C], P7: B, P12: ZERO}})),
    hole("none, upper case where it does not matter",
         runtime({"StringEqualsIgnoreCase": {P4: A.upper(), P12: ZERO}})),
    hole("none, lower case with StringEquals", runtime({"StringEquals": RIGHT})),
    hole("none, everybody of an organisation's one role",
         runtime({**PINNED, "ArnEquals": {"aws:PrincipalArn": RUNTIME}}, "*")),
    hole("none, attested machines of the organisation",
         runtime({**PINNED, "StringLike": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}}, "*")),
    hole("none, grants that cannot decrypt", extra(allow(OWNER, "kms:CreateGrant", {
        "ForAllValues:StringEquals": {"kms:GrantOperations": ["Encrypt", "DescribeKey"]}}))),
    hole("none, another encryption context under the same key", extra(allow(SEALER, "kms:ReEncrypt*", {
        "Bool": {"kms:ReEncryptOnSameKey": "true"}}))),
    hole("none, the key's ARN as resource", policy(allow(RUNTIME, "kms:Decrypt", PINNED, Resource=KEY))),
    hole("none, a deny of images that were withdrawn",
         extra(deny("*", "kms:Decrypt", {"StringEqualsIgnoreCase": {P4: C}}))),
    hole("none, everything else is denied to the runtime",
         extra(deny(RUNTIME, None, Action=None, NotAction="kms:Decrypt"))),
    hole("none, the runtime makes attested data keys",
         policy(allow(RUNTIME, ["kms:Decrypt", "kms:GenerateDataKey", "kms:GenerateRandom"], PINNED))),
    hole("none, an enclave", enclave({E0: A, E1: B, E2: C})),
    hole("none, an enclave by its image", enclave({IMAGE: A, ATT + "PCR3": B})),
    hole("none, an enclave by its signer", enclave({E8: A})),
    hole("unconditional allow", runtime(None), "unattested-decrypt"),
    hole("unconditional allow behind a deny",
         policy(allow(RUNTIME, "kms:Decrypt"), deny("*", "kms:Decrypt", {"StringNotEquals": {P4: A}})),
         "unattested-decrypt"),
    hole("a condition on something else", runtime({"StringEquals": {"aws:SourceVpce": "vpce-1"}}),
         "unattested-decrypt"),
    hole("an encryption context is no attestation",
         runtime({"StringLike": {"kms:EncryptionContext:sealedfs:file-id": "*"}}), "unattested-decrypt"),
    hole("kms:D* is kms:Decrypt", policy(RUNTIME_PART, allow(OWNER, "kms:D*")), "unattested-decrypt"),
    hole("everybody", runtime(None, "*"), "wildcard-principal"),
    hole("everybody of the account", runtime({"StringEquals": {"kms:CallerAccount": "444455556666"}}, "*"),
         "wildcard-principal"),
    hole("everybody of the organisation", runtime({"StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}}, "*"),
         "wildcard-principal"),
    hole("a role of any account", runtime({**PINNED, "ArnLike": {
        "aws:PrincipalArn": "arn:aws:iam::*:role/model-consumer"}}, "*"), "wildcard-principal"),
    hole("everybody with the image", runtime(PINNED, "*"), "wildcard-principal"),
    hole("everybody with the image, in a list", runtime(PINNED, [RUNTIME, "*"]), "wildcard-principal"),
    hole("any role of an account", runtime(PINNED, "arn:aws:iam::*:role/model-consumer")),
    hole("account root", policy(allow(ROOT, "kms:*"), RUNTIME_PART), "account-root"),
    hole("account by its number", policy(allow("111122223333", "kms:*"), RUNTIME_PART), "account-root"),
    hole("the runtime's account may change the policy",
         extra(allow("arn:aws:iam::444455556666:root", "kms:PutKeyPolicy")), "account-root"),
    hole("PCR 12 is missing", runtime({"StringEqualsIgnoreCase": {P4: A, P7: B}}), "pcr12-missing"),
    hole("PCR 12 in another statement only",
         policy(RUNTIME_PART, allow(RUNTIME, "kms:Decrypt", {"StringEqualsIgnoreCase": {P4: C}})),
         "pcr12-missing"),
    hole("only PCR 12", runtime({"StringEqualsIgnoreCase": {P12: ZERO}}), "image-missing"),
    hole("no Secure Boot and no PCR 4", runtime({"StringEqualsIgnoreCase": {
        P7: "98441c7f7625d10058c47683aec486ce311c633235eb555593a7ee791121e3578ae72d04ecef661f272d59058b77af35",
        P12: ZERO}}), "image-missing"),
    hole("the owner's Secure Boot or none", runtime({"StringEqualsIgnoreCase": {
        P7: [B, "98441c7f7625d10058c47683aec486ce311c633235eb555593a7ee791121e3578ae72d04ecef661f272d59058b77af35"],
        P12: ZERO}}), "image-missing"),
    hole("any Secure Boot but none", runtime({"StringEquals": {P12: ZERO}, "StringNotEquals": {
        P7: "98441c7f7625d10058c47683aec486ce311c633235eb555593a7ee791121e3578ae72d04ecef661f272d59058b77af35"}}),
         "negated-condition"),
    hole("an ARN's operator with a star", runtime({"ArnLike": {P4: "*"}, "StringEquals": {P12: ZERO}}),
         "image-missing"),
    hole("everybody by an ARN that is a star", extra(allow("*", "kms:Decrypt", {"ArnLike": {"aws:PrincipalArn": "*"}})),
         "wildcard-principal"),
    hole("a role by its unique id", extra(allow("AROA1234567890EXAMPLE", "kms:Decrypt")), "unattested-decrypt"),
    hole("PutKeyPolicy for the last of many", policy(
        allow([RUNTIME + str(number) for number in range(80)], "kms:Decrypt", PINNED),
        allow(RUNTIME + "79", "kms:PutKeyPolicy")), "put-key-policy"),
    hole("grants of ReEncryptFrom", extra(allow(RUNTIME, "kms:CreateGrant", {
        "ForAllValues:StringEquals": {"kms:GrantOperations": ["Encrypt", "ReEncryptFrom"]}})), "grants"),
    hole("grants to one role", extra(allow(RUNTIME, "kms:CreateGrant", {
        "StringEquals": {"kms:GranteePrincipal": SEALER}})), "grants"),
    hole("the owner's Secure Boot", runtime({"StringEqualsIgnoreCase": {P7: B, P12: ZERO}})),
    hole("an enclave's kernel only", enclave({E1: A}), "image-missing"),
    hole("an enclave's instance only", enclave({ATT + "PCR4": A}), "image-missing"),
    hole("IfExists", runtime({"StringEqualsIgnoreCaseIfExists": RIGHT}), "if-exists"),
    hole("StringLike *", runtime({"StringLike": {P4: "*", P7: "*", P12: "*"}}), "string-like"),
    hole("StringLike with a beginning", runtime({"StringLike": {P4: A[:8] + "*", P12: ZERO}}), "string-like"),
    hole("ForAllValues", runtime({"ForAllValues:StringEqualsIgnoreCase": RIGHT}), "for-all-values"),
    hole("Null false", runtime({"Null": {P4: "false"}}), "null-condition"),
    hole("Null true", runtime({"Null": {P4: "true"}}), "null-condition"),
    hole("negated", runtime({"StringNotEquals": {P4: C}}), "negated-condition"),
    hole("NotAction", policy(OWNER_PART, RUNTIME_PART,
                             allow(SEALER, None, Action=None, NotAction=["kms:Encrypt"])), "not-action"),
    hole("NotAction, harmless today", policy(RUNTIME_PART, allow(OWNER, None, Action=None, NotAction=[
        "kms:Decrypt", "kms:DeriveSharedSecret", "kms:ReEncrypt*", "kms:CreateGrant", "kms:Generate*"])),
         "not-action"),
    hole("NotPrincipal", runtime(None, None, Principal=None, NotPrincipal={"AWS": OWNER}), "not-principal"),
    hole("NotPrincipal in a deny", extra(deny(None, "kms:Decrypt", Principal=None,
                                              NotPrincipal={"AWS": RUNTIME})), "not-principal"),
    hole("NotResource", policy(RUNTIME_PART, allow(OWNER, "kms:Decrypt", Resource=None,
                                                   NotResource=KEY[:-1] + "*x")), "not-resource"),
    hole("grants", extra(allow(OWNER, "kms:CreateGrant")), "grants"),
    hole("kms:Create*", extra(allow(OWNER, "kms:Create*")), "grants"),
    hole("grants for other services than one",
         extra(allow(OWNER, "kms:CreateGrant", {"StringNotEquals": {"kms:GranteeServicePrincipal": "s3.amazonaws.com"}})),
         "grants"),
    hole("grants for AWS services", extra(allow(RUNTIME, "kms:CreateGrant", {
        "Bool": {"kms:GrantIsForAWSResource": "true"}})), "grants-service"),
    hole("grants to a service principal", extra(allow(OWNER, "kms:CreateGrant", {
        "StringEquals": {"kms:GranteeServicePrincipal": "s3.amazonaws.com"}})), "grants-service"),
    hole("ReEncrypt*", extra(allow(SEALER, "kms:ReEncrypt*")), "reencrypt"),
    hole("ReEncryptFrom", extra(allow(RUNTIME, "kms:ReEncryptFrom")), "reencrypt"),
    hole("ReplicateKey", extra(allow(SEALER, "kms:ReplicateKey")), "replicate"),
    hole("data keys in plaintext", extra(allow(RUNTIME, "kms:GenerateDataKey")), "datakey-plaintext"),
    hole("data keys in plaintext, by a star", extra(allow(RUNTIME, "kms:GenerateDataKey*")),
         "datakey-plaintext"),
    hole("PutKeyPolicy", extra(allow(RUNTIME, "kms:PutKeyPolicy")), "put-key-policy"),
    hole("a service", extra(allow(None, ["kms:Decrypt", "kms:GenerateDataKey"],
                                  Principal={"Service": "s3.amazonaws.com"})), "service-principal"),
    hole("a service, for one account", extra(allow(
        None, "kms:Decrypt", {"StringEquals": {"aws:SourceAccount": "111122223333"}},
        Principal={"Service": "logs.us-east-1.amazonaws.com"})), "service-principal"),
    hole("a debugged enclave", enclave({E0: ZERO, E1: ZERO, E2: ZERO}), "zero-enclave-pcr"),
    hole("a debugged enclave beside a real one",
         enclave({E0: [A, ZERO], E1: [B, ZERO], E2: [C, ZERO]}), "zero-enclave-pcr"),
    hole("upper case with StringEquals", runtime({"StringEquals": {P4: A.upper(), P12: ZERO}}), "case"),
    hole("upper case in a deny", extra(deny("*", "kms:Decrypt", {"StringNotEquals": {P4: C.upper()}})), "case"),
    hole("a deny that misses calls without a document",
         extra(deny("*", "kms:Decrypt", {"StringNotEquals": {P4: A}, "Null": {P4: "false"}})),
         "deny-misses-unattested"),
    hole("a deny by ForAnyValue", extra(deny("*", "kms:Decrypt", {"ForAnyValue:StringNotEquals": {P4: A}})),
         "deny-misses-unattested"),
    hole("a deny that another one completes",
         policy(RUNTIME_PART, UNATTESTED,
                deny("*", "kms:Decrypt", {"StringNotEquals": {P12: ZERO}, "Null": {P12: "false"}}))),
    hole("an owner who may do everything", policy(allow(OWNER, "kms:*"), RUNTIME_PART),
         "unattested-decrypt", "grants", "reencrypt", "replicate", "datakey-plaintext", "put-key-policy"),
]
for each in HOLES:  # what names many principals, and is no ARN that KMS takes
    if each["name"] == "any role of an account":
        each["holes"] = ["wildcard-principal"]

AWS_EC2 = "Amazon EC2 User Guide, \"Prepare AWS KMS for attestation\""
AWS_KMS = "AWS KMS Developer Guide"


def published(name, origin, made, *found):
    return {"name": name, "origin": origin, "policy": made, "holes": list(found)}


ATTESTED = ["kms:Decrypt", "kms:GenerateDataKey", "kms:GenerateRandom"]
PUBLISHED = [
    published("EC2 guide: PCR 4 and 12", AWS_EC2, policy(
        allow("arn:aws:iam::111122223333:role/MyEC2InstanceRole", ATTESTED,
              {"StringEqualsIgnoreCase": {P4: A, P12: ZERO}}))),
    published("KMS guide: PCR 4 of a NitroTPM", AWS_KMS + ", \"Condition keys for NitroTPM\"", policy(
        allow("arn:aws:iam::111122223333:role/data-processing",
              ["kms:Decrypt", "kms:DeriveSharedSecret", "kms:GenerateDataKey", "kms:GenerateDataKeyPair",
               "kms:GenerateRandom"], {"StringEqualsIgnoreCase": {P4: A}})), "pcr12-missing"),
    published("KMS guide: image of an enclave", AWS_KMS + ", \"Condition keys for Nitro Enclaves\"", policy(
        allow("arn:aws:iam::111122223333:role/data-processing", ATTESTED,
              {"StringEqualsIgnoreCase": {IMAGE: A}}))),
    published("KMS guide: PCR 1 of an enclave", AWS_KMS + ", \"Condition keys for Nitro Enclaves\"", policy(
        allow("arn:aws:iam::111122223333:role/data-processing", ATTESTED,
              {"StringEqualsIgnoreCase": {E1: A}})), "image-missing"),
    published("default policy of a new key", AWS_KMS + ", \"Default key policy\"",
              policy(allow(ROOT, "kms:*")), "account-root"),
    published("console: administrators and users", AWS_KMS + ", \"Default key policy\"", policy(
        allow(ROOT, "kms:*"),
        allow(OWNER, ["kms:Create*", "kms:Describe*", "kms:Enable*", "kms:List*", "kms:Put*", "kms:Update*",
                      "kms:Revoke*", "kms:Disable*", "kms:Get*", "kms:Delete*", "kms:TagResource",
                      "kms:UntagResource", "kms:ScheduleKeyDeletion", "kms:CancelKeyDeletion",
                      "kms:RotateKeyOnDemand"]),
        allow(RUNTIME, ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*",
                        "kms:DescribeKey"]),
        allow(RUNTIME, ["kms:CreateGrant", "kms:ListGrants", "kms:RevokeGrant"],
              {"Bool": {"kms:GrantIsForAWSResource": "true"}})),
              "account-root", "grants", "unattested-decrypt", "reencrypt", "datakey-plaintext",
              "grants-service"),
    published("policy of an AWS managed key", AWS_KMS + ", \"kms:ViaService\"", policy(
        allow("*", ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"],
              {"StringEquals": {"kms:CallerAccount": "111122223333",
                                "kms:ViaService": "s3.us-east-1.amazonaws.com"}}),
        allow(ROOT, ["kms:Describe*", "kms:Get*", "kms:List*"])), "wildcard-principal"),
    published("nitrotpm-attestation-samples, before PCR 12",
              "aws/nitrotpm-attestation-samples, nginx-kms and postgres-kms", policy(
                  allow(OWNER, "kms:*"), allow(RUNTIME, ["kms:Decrypt"], {"StringEqualsIgnoreCase": {P4: A, P7: B}})),
              "unattested-decrypt", "grants", "reencrypt", "replicate", "datakey-plaintext", "put-key-policy",
              "pcr12-missing"),
    published("nitrotpm-attestation-samples, in two steps",
              "aws/nitrotpm-attestation-samples, a later form of its key policy", policy(
                  allow(OWNER, ["kms:ScheduleKeyDeletion", "kms:ListGrants", "kms:RevokeGrant", "kms:GetKeyPolicy"]),
                  allow(RUNTIME, ["kms:Decrypt"], PINNED), deny("*", "kms:CreateGrant"))),
    published("sample-mpc-app-using-aws-nitrotpm", "aws-samples/sample-mpc-app-using-aws-nitrotpm, "
              "dev_build/scripts/create_kms_key.sh", policy(allow(ROOT, "kms:*")), "account-root"),
    published("sample-mpc-app, conditions by its page", "aws-samples/sample-mpc-app-using-aws-nitrotpm, "
              "KMSManager.js", policy(
                  allow(ROOT, "kms:*"),
                  allow(RUNTIME, ["kms:Decrypt", "kms:GenerateDataKey"], {"StringLike": {P4: A, P7: B}})),
              "account-root", "pcr12-missing"),
    published("README of this project, first form", "sealedfs", policy(
        OWNER_PART, SEALER_PART, RUNTIME_PART, UNATTESTED, deny("*", "kms:CreateGrant"))),
]


def write(name, value):
    with open(os.path.join(HERE, name), "w", encoding="utf-8") as out:
        json.dump(value, out, indent=1)
        out.write("\n")


if __name__ == "__main__":
    write("decisions.json", copy.deepcopy(DECISIONS))
    write("holes.json", HOLES)
    write("published.json", PUBLISHED)
