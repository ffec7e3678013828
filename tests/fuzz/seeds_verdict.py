#!/usr/bin/python3
"""Makes the seeds in corpus/verdict/, corpus/event_log/ and corpus/policy_file/ again, from the cases in tests/vectors/verdict/."""

import base64
import json
import os

HERE = os.path.dirname(os.path.abspath(__file__))
CASES = os.path.join(HERE, "..", "vectors", "verdict")
DOCUMENTS = ("genuine", "tagged", "definite", "enclave", "real-nitrotpm-us-east-1-20260203", "unknown-key", "boot-debug",
             "fields-both-pcrs", "chain-order", "decode-doubled-key", "signature-zero", "tls-bound", "fresh-nonce")
LOGS = ("log-one", "log-two", "log-three", "systemd-one", "record-of-others", "lie-model-as-start", "record-nul", "log-cut",
        "log-reset", "log-other-boot", "log-sha384", "log-declared")


def request(name):
    with open(os.path.join(CASES, name + ".json"), encoding="utf-8") as stream:
        return json.load(stream)["request"]


def put(target, name, data):
    folder = os.path.join(HERE, "corpus", target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as stream:
        stream.write(data)


def main():
    for name in DOCUMENTS:
        put("verdict", name, base64.b64decode(request(name)["document"]))
    for name in LOGS:
        found = request(name)
        systemd = b"\xff" + base64.b64decode(found["systemd_log"]) if "systemd_log" in found else b""
        put("event_log", name, base64.b64decode(found["event_log"]) + systemd)
    put("event_log", "empty", b"")
    policy = {"root": "root.pem", "max_age": 300, "pcrs": {"4": ["ab" * 48, "cd" * 48], "12": "00" * 48},
              "measurements": ["boot.json"], "model_pcr": 15, "models": ["sha256:" + "ab" * 32, "m.gguf.seal"],
              "measure": ["verity", "declared"], "owner_keys": ["acme=acme.pub"], "debug": False}
    put("policy_file", "policy", json.dumps(policy).encode())
    for change in ({"debug": 1}, {"pcrs": {"32": "00"}}, {"models": []}, {"unknown": None}, {"max_age": 1.5}):
        put("policy_file", "policy-" + next(iter(change)), json.dumps({**policy, **change}).encode())
    found = request("owner-good")
    evidence = {"sealedfs_evidence": 1, "pcr": 15, "document": found["document"], "event_log": found["event_log"],
                "systemd_log": None, "seals": [{"path": "x", "head": head} for head in found["seals"]], "mounts": []}
    put("policy_file", "evidence", json.dumps(evidence).encode())
    put("policy_file", "evidence-short-seal", json.dumps({**evidence, "seals": [{"head": "AAAA"}]}).encode())
    put("policy_file", "evidence-no-log", json.dumps({**evidence, "event_log": None, "seals": None}).encode())
    heads = [{"head": head} for head in request("set-head-second")["sets"]]
    put("policy_file", "evidence-sets", json.dumps({**evidence, "seals": [], "sets": heads}).encode())
    put("policy_file", "evidence-short-set", json.dumps({**evidence, "seals": [], "sets": [{"head": "AAAA"}]}).encode())
    put("policy_file", "doubled", b'{"debug":true,"debug":true}')


if __name__ == "__main__":
    main()
