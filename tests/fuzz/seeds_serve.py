#!/usr/bin/python3
"""Makes the seeds in corpus/serve/ again: requests to the evidence endpoint, good and bad."""

import os

CORPUS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "serve")
NONCE = "5a" * 32
BODY = '{"nonce": "%s", "evidence": {"sealedfs_evidence": 1, "document": ""}}' % NONCE


def request(method, target, *lines, body=""):
    return "\r\n".join((f"{method} {target} HTTP/1.1", "Host: x", *lines, "", body)).encode()


SEEDS = {
    "empty": b"",
    "text": request("GET", "/"),
    "mounts": request("GET", "/v1/mounts"),
    "nonce": request("GET", "/v1/nonce"),
    "evidence": request("GET", "/v1/evidence?nonce=" + NONCE),
    "evidence-short": request("GET", "/v1/evidence?nonce=5a"),
    "two-nonces": request("GET", f"/v1/evidence?nonce={NONCE}&nonce={NONCE}"),
    "present": request("POST", "/v1/evidence", f"Content-Length: {len(BODY)}", body=BODY),
    "present-chunked": request("POST", "/v1/evidence", "Transfer-Encoding: chunked",
                               body="%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)),
    "present-large": request("POST", "/v1/evidence", "Content-Length: 99999999999"),
    "present-less": request("POST", "/v1/evidence", "Content-Length: 500", body=BODY),
    "get-with-body": request("GET", "/v1/mounts", "Content-Length: 5", body="12345"),
    "head": request("HEAD", "/"),
    "options": request("OPTIONS", "*"),
    "two-requests": request("GET", "/x") + request("GET", "/"),
    "old": b"GET / HTTP/1.0\r\n\r\n",
    "lines": b"GET / HTTP/1.1\nHost: x\n\n",
    "folded": request("GET", "/", "A: b", "  c"),
    "expect": request("POST", "/v1/evidence", "Expect: 100-continue", "Content-Length: 5", body="12345"),
    "target": b"/v1/evidence?nonce=" + NONCE.encode(),
    "body": BODY.encode(),
}

os.makedirs(CORPUS, exist_ok=True)
for name, data in SEEDS.items():
    with open(os.path.join(CORPUS, name), "wb") as out:
        out.write(data)
