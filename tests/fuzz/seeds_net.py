#!/usr/bin/python3
"""Makes the seeds of corpus/xml/, corpus/kms/ and corpus/ini/ again: answers of S3, KMS and IMDS as their
documentation shows them, hostile forms of them, and profile files."""

import json
import os

HERE = os.path.dirname(os.path.abspath(__file__))
ARN = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
OBJECT = ("<Contents><Key>{}</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified>"
          "<ETag>&quot;0123456789abcdef&quot;</ETag><Size>{}</Size>"
          "<StorageClass>STANDARD</StorageClass></Contents>")
PAGE = ("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/"
        "doc/2006-03-01/\"><Name>b</Name><Prefix>p%2F</Prefix>{}</ListBucketResult>")
URL = "<EncodingType>url</EncodingType>"
MORE = "<IsTruncated>true</IsTruncated><NextContinuationToken>a+/=</NextContinuationToken>"

XML = {
    "page": PAGE.format(URL + "<KeyCount>2</KeyCount>" + OBJECT.format("p%2Fa+b%2B%C3%BC", 42949672960)
                        + OBJECT.format("p%2Fc", 0)),
    "page-more": PAGE.format(MORE + OBJECT.format("p/a", 1)),
    "page-empty": PAGE.format("<IsTruncated>false</IsTruncated>"),
    "page-no-token": PAGE.format("<IsTruncated>true</IsTruncated>"),
    "page-bad-escape": PAGE.format(URL + OBJECT.format("a%2", 1)),
    "page-nul-in-key": PAGE.format(URL + OBJECT.format("a%00b", 1)),
    "page-two-keys": PAGE.format("<Contents><Key>a</Key><Key>b</Key><Size>1</Size></Contents>"),
    "page-size-overflow": PAGE.format(OBJECT.format("a", "9" * 30)),
    "page-references": PAGE.format(OBJECT.format("&#x10ffff;&#9;&lt;&amp;", 1)),
    "doctype": "<!DOCTYPE x [<!ENTITY a \"b\"><!ENTITY c \"&a;&a;\">]><ListBucketResult>&c;"
               "</ListBucketResult>",
    "deep": "<a>" * 40,
    "utf16": PAGE.format(OBJECT.format("a", 1)).encode("utf-16"),
    "error": "<Error><Code>NoSuchKey</Code><Message>The key does\nnot exist.</Message><Key>k</Key>"
             "<Region>eu-west-1</Region><RequestId>4442587FB7D0A2F9</RequestId></Error>",
    "upload": "<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><UploadId>V+/=</UploadId>"
              "</InitiateMultipartUploadResult>",
    "complete": " \n<?xml version=\"1.0\"?><CompleteMultipartUploadResult><ETag>\"3858f62230ac3c915f30"
                "0c664312c11f-9\"</ETag></CompleteMultipartUploadResult>",
}
KMS = {
    "key-id": ARN,
    "json-not-an-object": "[1]",
    "json-key-size": json.dumps({"KeyId": ARN, "Plaintext": "AAEC"}),
    "json-key-id": json.dumps({"KeyId": "a\"b", "CiphertextBlob": "AQID"}),
    "json-data-key": json.dumps({"KeyId": ARN, "CiphertextBlob": "AQID", "KeyMaterialId": "0" * 64,
                                 "Plaintext": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}),
    "json-recipient": json.dumps({"KeyId": ARN, "Plaintext": None, "CiphertextForRecipient": "MIAG",
                                  "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}),
    "json-failure": json.dumps({"__type": "com.amazonaws.kms#DisabledException",
                                "message": "key\u0007 is disabled"}),
    "json-keys": json.dumps({"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "ASIAEXAMPLE",
                             "SecretAccessKey": "secret", "Token": "token",
                             "Expiration": "2026-01-02T03:04:05Z"}),
    "json-no-keys": json.dumps({"Code": "AssumeRoleUnauthorizedAccess", "Message": "no"}),
    "json-deep": "{\"KeyId\":" + "[" * 3000,
    "json-duplicate": "{\"KeyId\":\"a\",\"KeyId\":\"b\"}",
}
INI = {
    "config": "# comment\n[default]\nregion = eu-west-1\ns3 =\n  addressing_style = path\n"
              "[profile p]\nservices = dev\n[services dev]\nkms =\n\tendpoint_url = http://k\n",
    "credentials": "[default]\naws_access_key_id=AKIAEXAMPLE\naws_secret_access_key = a/b+c= # note\n",
    "crlf": "[default]\r\nregion=eu-west-1\r\n",
    "continuation": "[a]\nb = c\n  d\n",
    "no-section": "a = b\n",
    "open-section": "[default\n",
    "no-equals": "[a]\nb\n",
    "nul": b"[a]\nb\0=c\n",
    "empty-names": "[]\n=\n",
}


def write(folder, seeds):
    os.makedirs(os.path.join(HERE, "corpus", folder), exist_ok=True)
    for name, content in seeds.items():
        content = content if isinstance(content, bytes) else content.encode()
        with open(os.path.join(HERE, "corpus", folder, name), "wb") as out:
            out.write(content)


write("xml", XML)
write("kms", KMS)
write("ini", INI)
