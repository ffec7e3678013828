#!/usr/bin/python3
"""Makes the seeds in corpus/policy/ again: policies of tests/vectors/policy/, and some that are none."""

import json
import os
import re

HERE = os.path.dirname(os.path.abspath(__file__))
CORPUS = os.path.join(HERE, "corpus", "policy")
VECTORS = os.path.join(HERE, "..", "vectors", "policy")
WHOLE = '{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":%s}]}'
BAD = {
    "empty": "", "array": "[]", "deep": "[" * 3000, "no-statement": '{"Version":"2012-10-17"}',
    "condition-of-nothing": WHOLE % '{"StringEquals":{}}', "condition-null": WHOLE % '{"Null":{"a":null}}',
    "many-colons": WHOLE % '{"ArnLike":{"aws:PrincipalArn":"::::::::::*"}}',
    "stars": WHOLE % '{"StringLike":{"aws:PrincipalArn":"%s"}}' % ("*a" * 60),
    "number": WHOLE % '{"NumericLessThan":{"kms:RecipientAttestation:NitroTPMPCR4":[1e308,"-","0x1p3"]}}',
    "key-is-prefix": WHOLE % '{"Bool":{"kms:RecipientAttestation:":true,"KMS:recipientattestation:pcr":1}}',
    "account": '{"Statement":{"Effect":"Allow","Principal":{"AWS":["111122223333",":root","arn:aws:iam:::root"]},'
               '"Action":"kms:*","Resource":"*"}}',
    "answer": json.dumps({"Policy": WHOLE % "{}", "PolicyName": "default"}),
    "answer-in-answer": json.dumps({"Policy": json.dumps({"Policy": WHOLE % "{}"})}),
}


def write(name, text):
    with open(os.path.join(CORPUS, name), "w", encoding="utf-8") as out:
        out.write(text)


if __name__ == "__main__":
    os.makedirs(CORPUS, exist_ok=True)
    for name, text in BAD.items():
        write(name, text)
    for file in ("holes", "published"):
        with open(os.path.join(VECTORS, file + ".json"), encoding="utf-8") as vectors:
            for case in json.load(vectors):
                name = re.sub("[^a-z0-9]+", "-", case["name"].lower()).strip("-")
                write(f"{file}-{name}", json.dumps(case["policy"], separators=(",", ":")))
