#!/usr/bin/python3
"""EC2 instance metadata (IMDSv2) for tests, and the container credentials endpoint.

Hands out session tokens, role credentials that rotate, and the facts of one made-up instance. The
credentials go into the file that the KMS and S3 emulators read, so they are accepted while they
live and give ExpiredToken afterwards. Version 1 (no token) and forwarded requests are refused. See
README.md for options and faults.
"""
import argparse
import base64
import hmac
import json
import os
import random
import secrets
import string
import sys
import threading
import time

import credfile
import emu_http
import testca

TTL_HEADER = "X-aws-ec2-metadata-token-ttl-seconds"
TOKEN_HEADER = "X-aws-ec2-metadata-token"
MAX_TTL_S = 21600
KEEP_EXPIRED = 20
CREDENTIALS_PATH = "/latest/meta-data/iam/security-credentials"
CONTAINER_PATH = "/v2/credentials/emulated"
FAULT_KINDS = ("status", "slow", "cut", "code-message", "expired-keys", "garbage", "oversize",
               "forget-tokens")


class RoleCredentials:
    """Temporary keys of the role: renewed overlap_s before they end."""

    def __init__(self, path, lifetime_s=3600, overlap_s=None):
        self.path = path
        self.lifetime_s = lifetime_s
        self.overlap_s = min(300, lifetime_s / 2) if overlap_s is None else overlap_s
        self._lock = threading.Lock()
        self._issued = []
        self.rotate()

    def rotate(self, expire_old=False):
        """Make new keys now. expire_old ends all earlier ones at once."""
        now = time.time()
        # Whole seconds, as in Expiration: the file and the answer have to name the same moment.
        letters = random.choices(string.ascii_uppercase + "234567", k=16)
        entry = {"key_id": "ASIA" + "".join(letters),
                 "secret": base64.b64encode(secrets.token_bytes(30)).decode(),
                 "token": base64.b64encode(secrets.token_bytes(480)).decode(),
                 "updated": int(now), "expires": int(now + self.lifetime_s)}
        changes = {}
        with self._lock:
            if expire_old:
                for old in self._issued:
                    old["expires"] = min(old["expires"], int(now) - 1)
                    changes[old["key_id"]] = self._stored(old)
            self._issued.append(entry)
            changes[entry["key_id"]] = self._stored(entry)
            while len(self._issued) > KEEP_EXPIRED:
                changes[self._issued.pop(0)["key_id"]] = None
            credfile.update(self.path, changes)
        return entry

    @staticmethod
    def _stored(entry):
        return {"secret": entry["secret"], "token": entry["token"],
                "expires": credfile.iso_time(entry["expires"])}

    def current(self):
        newest = self._issued[-1]
        if time.time() >= newest["expires"] - self.overlap_s:
            newest = self.rotate()
        return newest

    def forget(self):
        """Take this emulator's keys out of the file."""
        with self._lock:
            credfile.update(self.path, {entry["key_id"]: None for entry in self._issued})
            self._issued.clear()


class ImdsEmulator:
    """credentials: RoleCredentials. role None means an instance without a role."""

    def __init__(self, credentials, role="emulated-role", region=testca.DEFAULT_REGION,
                 instance_id=testca.DEFAULT_INSTANCE_ID, account="111122223333",
                 instance_type="g6.2xlarge", user_data=None, disabled=False,
                 container_token="container-token", container_token_file=None, faults=(),
                 log_file=None):
        self.credentials = credentials
        self.role = role
        self.region = region
        self.instance_id = instance_id
        self.account = account
        self.instance_type = instance_type
        self.user_data = user_data
        self.disabled = disabled
        self.container_token = container_token
        self.container_token_file = container_token_file
        self.faults = emu_http.FaultTable(FAULT_KINDS, faults)
        self.log = emu_http.RequestLog(log_file)
        self._lock = threading.Lock()
        self._tokens = {}
        self._started = int(time.time())

    def _pages(self):
        """Metadata as plain text, by path."""
        zone = self.region + "a"
        identity = {
            "accountId": self.account, "architecture": "x86_64", "availabilityZone": zone,
            "billingProducts": None, "devpayProductCodes": None, "imageId": "ami-0123456789abcdef0",
            "instanceId": self.instance_id, "instanceType": self.instance_type, "kernelId": None,
            "marketplaceProductCodes": None, "pendingTime": credfile.iso_time(self._started),
            "privateIp": "10.0.0.10", "ramdiskId": None, "region": self.region,
            "version": "2017-09-30"}
        pages = {
            "/latest/meta-data/instance-id": self.instance_id,
            "/latest/meta-data/instance-type": self.instance_type,
            "/latest/meta-data/ami-id": identity["imageId"],
            "/latest/meta-data/placement/region": self.region,
            "/latest/meta-data/placement/availability-zone": zone,
            "/latest/dynamic/instance-identity/document": json.dumps(identity, indent=2),
        }
        if self.user_data is not None:
            pages["/latest/user-data"] = self.user_data
        if self.role:
            pages[CREDENTIALS_PATH] = self.role
            pages[CREDENTIALS_PATH + "/"] = self.role
            profile = f"arn:aws:iam::{self.account}:instance-profile/{self.role}"
            pages["/latest/meta-data/iam/info"] = json.dumps(
                {"Code": "Success", "LastUpdated": credfile.iso_time(self._started),
                 "InstanceProfileArn": profile, "InstanceProfileId": "AIPAEMULATEDEMULATED1"})
        return pages

    def _operation(self, path):
        if path == "/latest/api/token":
            return "token"
        if path in (CREDENTIALS_PATH, CREDENTIALS_PATH + "/"):
            return "role"
        if path.startswith(CREDENTIALS_PATH + "/"):
            return "keys"
        if path.startswith("/v2/credentials"):
            return "container"
        return path.rstrip("/").rpartition("/")[2]

    def serve(self, request):
        operation = self._operation(request.raw_path)
        effects = {fault["kind"]: fault for fault in self.faults.take_all(operation, FAULT_KINDS)}
        if "slow" in effects:
            time.sleep(effects["slow"].get("ms", 1000) / 1000)
        if "cut" in effects:
            self.log.add(operation=operation, path=request.raw_path, status=0)
            raise emu_http.CutConnection
        if "forget-tokens" in effects:
            with self._lock:
                self._tokens.clear()
        if "status" in effects:
            answer = _text(effects["status"].get("status", 500), "")
        else:
            answer = self._answer(request, operation, effects)
        if "garbage" in effects:
            answer = _text(200, "{\"Code\": \"Succ")
        if "oversize" in effects:
            answer = _text(200, "x" * effects["oversize"].get("bytes", 1 << 22))
        self.log.add(operation=operation, path=request.raw_path, status=answer[0])
        return answer

    def _answer(self, request, operation, effects):
        if operation == "container":
            return self._container(request, effects)
        if request.header("X-Forwarded-For") is not None:
            return _text(403, "")
        if operation == "token":
            return self._token(request)
        if request.command not in ("GET", "HEAD"):
            return _text(405, "")
        if self.disabled:
            return _text(403, "")
        if not self._token_valid(request.header(TOKEN_HEADER)):
            return _text(401, "")
        if operation == "keys":
            role = request.raw_path[len(CREDENTIALS_PATH) + 1:]
            if role != self.role:
                return _text(404, "")
            return self._keys(effects)
        page = self._pages().get(request.raw_path)
        return _text(404, "") if page is None else _text(200, page)

    def _token(self, request):
        if request.command != "PUT":
            return _text(405, "")
        if self.disabled:
            return _text(403, "")
        ttl = request.header(TTL_HEADER, "")
        if not ttl.isdigit() or not 1 <= int(ttl) <= MAX_TTL_S:
            return _text(400, "")
        token = base64.urlsafe_b64encode(secrets.token_bytes(42)).decode()
        with self._lock:
            self._tokens[token] = time.time() + int(ttl)
        return _text(200, token, {TTL_HEADER: ttl})

    def _token_valid(self, token):
        with self._lock:
            return time.time() < self._tokens.get(token or "", 0)

    def _keys(self, effects):
        if "code-message" in effects:
            fault = effects["code-message"]
            body = {"Code": fault.get("code", "AssumeRoleUnauthorizedAccess"),
                    "Message": "EC2 cannot assume the role.",
                    "LastUpdated": credfile.iso_time(time.time())}
            return _text(200, json.dumps(body, indent=2))
        return _text(200, json.dumps(self._key_document(effects, {
            "Code": "Success", "Type": "AWS-HMAC"}), indent=2))

    def _key_document(self, effects, head):
        entry = self.credentials.current()
        expires = entry["expires"]
        if "expired-keys" in effects:
            expires = int(time.time()) - 60
        return {**head, "LastUpdated": credfile.iso_time(entry["updated"]),
                "AccessKeyId": entry["key_id"], "SecretAccessKey": entry["secret"],
                "Token": entry["token"], "Expiration": credfile.iso_time(expires)}

    def _container(self, request, effects):
        """ECS and EKS Pod Identity: no session token, but an Authorization header."""
        wanted = self.container_token
        if self.container_token_file:
            with open(self.container_token_file, encoding="utf-8") as stored:
                wanted = stored.read().rstrip("\n")
        given = request.header("Authorization", "")
        if wanted and not hmac.compare_digest(given.encode(), wanted.encode()):
            return emu_http.json_answer(403, {"code": "AccessDenied", "message": "not authorized"})
        if request.raw_path != CONTAINER_PATH:
            return emu_http.json_answer(404, {"code": "NotFound", "message": "no such task"})
        if "code-message" in effects:
            return emu_http.json_answer(200, {"code": "InternalError", "message": "no keys"})
        document = self._key_document(effects, {"AccountId": self.account})
        del document["LastUpdated"]
        return emu_http.json_answer(200, document)

    def control(self, request):
        """POST /_emu/rotate {"expire_old": true}; POST /_emu/role {"role": null or name}."""
        if request.command != "POST":
            return None
        arguments = json.loads(request.body or b"{}")
        if request.raw_path == "/_emu/rotate":
            entry = self.credentials.rotate(bool(arguments.get("expire_old")))
            return emu_http.json_answer(200, {"access_key_id": entry["key_id"]})
        if request.raw_path == "/_emu/role":
            self.role = arguments["role"]
            return emu_http.json_answer(200, {"role": self.role})
        return None


def _text(status, body, headers=None):
    data = body if isinstance(body, bytes) else body.encode()
    return status, {"Content-Type": "text/plain", **(headers or {})}, data


def make_parser():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--credentials", required=True,
                        help="file of valid access keys; ours are added to it and kept current")
    parser.add_argument("--lifetime", type=float, default=3600, metavar="SECONDS",
                        help="how long role credentials live")
    parser.add_argument("--overlap", type=float, metavar="SECONDS",
                        help="new ones appear so long before (default: 300, at most half the life)")
    parser.add_argument("--role", default="emulated-role")
    parser.add_argument("--no-role", action="store_true")
    parser.add_argument("--disabled", action="store_true", help="metadata access is switched off")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--port-file", help="write port, url and container, for a shell to source")
    parser.add_argument("--region", default=testca.DEFAULT_REGION)
    parser.add_argument("--instance-id", default=testca.DEFAULT_INSTANCE_ID)
    parser.add_argument("--instance-type", default="g6.2xlarge")
    parser.add_argument("--account", default="111122223333")
    parser.add_argument("--user-data", help="file served as user data")
    parser.add_argument("--container-token", default="container-token")
    parser.add_argument("--container-token-file", help="read at every request, wins")
    parser.add_argument("--fault", action="append", default=[], type=json.loads, metavar="JSON")
    parser.add_argument("--log", help="append the request log to this file")
    return parser


def main(argv=None):
    options = make_parser().parse_args(argv)
    stop = emu_http.stop_event()
    try:
        user_data = None
        if options.user_data:
            with open(options.user_data, "rb") as stored:
                user_data = stored.read()
        credentials = RoleCredentials(options.credentials, options.lifetime, options.overlap)
        emulator = ImdsEmulator(
            credentials, None if options.no_role else options.role, options.region,
            options.instance_id, options.account, options.instance_type, user_data,
            options.disabled, options.container_token, options.container_token_file, options.fault,
            options.log)
        with emu_http.Server(emulator, options.host, options.port) as server:
            url = f"http://{options.host}:{server.port}"
            emu_http.announce({"port": server.port, "url": url,
                               "container": url + CONTAINER_PATH}, options.port_file)
            stop.wait()
        credentials.forget()
    except (OSError, ValueError) as failure:
        print(f"imds: {failure}", file=sys.stderr)
        return 1
    finally:
        if options.port_file and os.path.exists(options.port_file):
            os.unlink(options.port_file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
