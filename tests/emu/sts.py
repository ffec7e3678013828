#!/usr/bin/python3
"""AWS STS for tests: AssumeRoleWithWebIdentity and AssumeRole, as the query API has them.

Each call makes new temporary keys and puts them into the file that the KMS and S3 emulators read, so
they are accepted while they live and give ExpiredToken afterwards. A web identity token is good when
it was named by --web-token or the control path; AssumeRole wants a signature by keys of the file.
See README.md for options and faults.
"""
import argparse
import base64
import json
import os
import random
import re
import secrets
import string
import sys
import threading
import time
import urllib.parse
from xml.sax.saxutils import escape

import credfile
import emu_http
import sigv4

VERSION = "2011-06-15"
NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
ROLE = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]{1,512}")
SESSION = re.compile(r"[\w+=,.@-]{2,64}")
FAULT_KINDS = ("error", "slow", "cut", "garbage", "no-keys", "expired-keys", "status")
ERRORS = {"ExpiredTokenException": 400, "InvalidIdentityToken": 400, "IDPCommunicationError": 400,
          "AccessDenied": 403, "Throttling": 400, "InternalFailure": 500, "ServiceUnavailable": 503,
          "RegionDisabledException": 403, "ValidationError": 400}


class StsError(Exception):
    def __init__(self, code, message, status=None):
        super().__init__(message)
        self.code, self.message = code, message
        self.status = status or ERRORS.get(code, 400)


class StsEmulator:
    """path: the credentials file. external_id: what AssumeRole must bring, if anything."""

    def __init__(self, path, region="us-east-1", lifetime_s=None, tokens=(), external_id=None,
                 clock_offset_s=0, faults=(), log_file=None):
        self.path = path
        self.region = region
        self.lifetime_s = lifetime_s
        self.tokens = set(tokens)
        self.external_id = external_id
        self.clock_offset_s = clock_offset_s
        self.credentials = sigv4.CredentialsFile(path)
        self.faults = emu_http.FaultTable(FAULT_KINDS, faults)
        self.log = emu_http.RequestLog(log_file)
        self._lock = threading.Lock()
        self._issued = {}

    def now(self):
        return time.time() + self.clock_offset_s

    def serve(self, request):
        form = dict(urllib.parse.parse_qsl(request.body.decode("utf-8", "replace"),
                                           keep_blank_values=True, strict_parsing=False))
        action = form.get("Action", "?")
        effects = {fault["kind"]: fault for fault in self.faults.take_all(action, FAULT_KINDS)}
        # Never the token itself.
        seen = {name: value for name, value in form.items() if name != "WebIdentityToken"}
        if "slow" in effects:
            time.sleep(effects["slow"].get("ms", 1000) / 1000)
        if "cut" in effects:
            self.log.add(operation=action, status=0, form=seen)
            raise emu_http.CutConnection
        signer = None
        try:
            if "error" in effects:
                raise StsError(effects["error"]["error"], "as the test wanted it")
            signer, answer = self._answer(request, action, form, effects)
        except StsError as refusal:
            answer = self._failure(refusal)
        if "status" in effects:
            answer = (effects["status"].get("status", 500), {}, b"")
        if "garbage" in effects:
            answer = (200, {"Content-Type": "text/xml"}, b"<AssumeRoleResponse><Assume")
        self.log.add(operation=action, status=answer[0], form=seen, signer=signer)
        return answer

    def _answer(self, request, action, form, effects):
        signer = None
        if request.command != "POST" or request.raw_path != "/" or form.get("Version") != VERSION:
            raise StsError("ValidationError", "not a call of version " + VERSION)
        if action == "AssumeRoleWithWebIdentity":
            if request.header("Authorization") is not None:
                raise StsError("ValidationError", "this action is not signed")
            if form.get("WebIdentityToken") not in self.tokens:
                raise StsError("InvalidIdentityToken", "No OpenIDConnect provider found")
        elif action == "AssumeRole":
            signer = self._signer(request)
            if self.external_id and form.get("ExternalId") != self.external_id:
                raise StsError("AccessDenied", "is not authorized to perform: sts:AssumeRole")
        else:
            raise StsError("InvalidAction", f"Could not find operation {action}")
        if not ROLE.fullmatch(form.get("RoleArn", "")) or \
                not SESSION.fullmatch(form.get("RoleSessionName", "")):
            raise StsError("ValidationError", "RoleArn or RoleSessionName is invalid")
        duration = form.get("DurationSeconds", "3600")
        if not duration.isdigit() or not 900 <= int(duration) <= 43200:
            raise StsError("ValidationError", "DurationSeconds is invalid")
        return signer, self._keys(action, form, int(duration), effects)

    def _signer(self, request):
        try:
            return sigv4.verify(request.command, request.raw_path, request.raw_query,
                                request.header_list, request.body, self.credentials, "sts",
                                self.now(), region=self.region)
        except sigv4.SigV4Error as refusal:
            raise StsError(refusal.code, refusal.message, 403) from refusal

    def _keys(self, action, form, duration_s, effects):
        now = time.time()
        lifetime_s = self.lifetime_s or duration_s
        key_id = "ASIA" + "".join(random.choices(string.ascii_uppercase + "234567", k=16))
        entry = {"secret": base64.b64encode(secrets.token_bytes(30)).decode(),
                 "token": base64.b64encode(secrets.token_bytes(480)).decode(),
                 "expires": credfile.iso_time(int(now + lifetime_s))}
        with self._lock:
            self._issued[key_id] = entry
            credfile.update(self.path, {key_id: entry})
        expires = credfile.iso_time(now - 60) if "expired-keys" in effects else entry["expires"]
        keys = "" if "no-keys" in effects else (
            f"<Credentials><AccessKeyId>{key_id}</AccessKeyId>"
            f"<SecretAccessKey>{entry['secret']}</SecretAccessKey>"
            f"<SessionToken>{entry['token']}</SessionToken>"
            f"<Expiration>{expires}</Expiration></Credentials>")
        role = escape(form["RoleArn"])
        body = (f'<{action}Response xmlns="{NAMESPACE}"><{action}Result>'
                f"<AssumedRoleUser><Arn>{role}</Arn><AssumedRoleId>AROAEMULATED:x</AssumedRoleId>"
                f"</AssumedRoleUser>{keys}</{action}Result><ResponseMetadata>"
                f"<RequestId>{secrets.token_hex(8)}</RequestId></ResponseMetadata>"
                f"</{action}Response>")
        return 200, {"Content-Type": "text/xml"}, body.encode()

    @staticmethod
    def _failure(refusal):
        body = (f'<ErrorResponse xmlns="{NAMESPACE}"><Error><Type>Sender</Type>'
                f"<Code>{escape(refusal.code)}</Code><Message>{escape(refusal.message)}</Message>"
                f"</Error><RequestId>{secrets.token_hex(8)}</RequestId></ErrorResponse>")
        return refusal.status, {"Content-Type": "text/xml"}, body.encode()

    def expire(self):
        """Ends all keys that were issued so far, at once."""
        past = credfile.iso_time(time.time() - 5)
        with self._lock:
            for entry in self._issued.values():
                entry["expires"] = past
            credfile.update(self.path, self._issued)
            return len(self._issued)

    def forget(self):
        with self._lock:
            credfile.update(self.path, {key_id: None for key_id in self._issued})

    def control(self, request):
        """POST /_emu/expire; POST /_emu/tokens {"accept": [...]}: these and no others are good."""
        if request.command != "POST":
            return None
        if request.raw_path == "/_emu/expire":
            return emu_http.json_answer(200, {"expired": self.expire()})
        if request.raw_path == "/_emu/tokens":
            self.tokens = set(json.loads(request.body)["accept"])
            return emu_http.json_answer(200, {"accepted": len(self.tokens)})
        return None


def make_parser():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--credentials", required=True, help="file of valid access keys")
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--lifetime", type=float, metavar="SECONDS",
                        help="how long keys live (default: as the caller asks, an hour)")
    parser.add_argument("--web-token", action="append", default=[], help="a good token")
    parser.add_argument("--external-id", help="what AssumeRole must bring")
    parser.add_argument("--clock-offset", type=float, default=0, metavar="SECONDS")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--port-file", help="write port and url, for a shell to source")
    parser.add_argument("--fault", action="append", default=[], type=json.loads, metavar="JSON")
    parser.add_argument("--log", help="append the request log to this file")
    return parser


def main(argv=None):
    options = make_parser().parse_args(argv)
    stop = emu_http.stop_event()
    try:
        emulator = StsEmulator(options.credentials, options.region, options.lifetime,
                               options.web_token, options.external_id, options.clock_offset,
                               options.fault, options.log)
        with emu_http.Server(emulator, options.host, options.port) as server:
            emu_http.announce({"port": server.port,
                               "url": f"http://{options.host}:{server.port}"}, options.port_file)
            stop.wait()
        emulator.forget()
    except (OSError, ValueError) as failure:
        print(f"sts: {failure}", file=sys.stderr)
        return 1
    finally:
        if options.port_file and os.path.exists(options.port_file):
            os.unlink(options.port_file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
