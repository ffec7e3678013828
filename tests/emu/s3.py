#!/usr/bin/python3
"""An S3 server for tests: strict, on loopback, and wrong only when it is told to be.

Every request must carry a good AWS SigV4 signature (sigv4.py); there is no way to switch
that off. Objects are plain files under --root (s3_store.py), so a test can look at them
or damage them. Faults, the request log and the settings are reached under /_emu/
(s3_fault.py; S3.md lists them), unsigned, on the same port. Only ciphertext is meant to
pass here: never serve this to a network.

    tests/emu/s3.py --root DIR --credentials FILE --bucket NAME [--port 0 --port-file F]

Prints "ready port=N endpoint=URL" on stdout when it serves. SIGTERM and SIGINT end it.
"""

import argparse
import contextlib
import http.server
import json
import os
import signal
import socketserver
import ssl
import sys
import threading
import time
import urllib.parse

import s3_xml
import sigv4
from s3_fault import Faults, Log
from s3_http import Connection, Drop, Reply
from s3_ops import Call, Operations
from s3_store import S3Error, Store
from s3_xml import Lister

JSON = "application/json"
MAX_CONTROL_BYTES = 1 << 20
SETTINGS = {
    "latency_ms": (0, "wait this long before every answer"),
    "rate_bytes_per_s": (0, "limit on the body of one answer, 0 for none (S3: about 90000000)"),
    "page_size": (1000, "most entries in one listing, whatever max-keys says"),
    "clock_offset_s": (0, "how far the server's clock is ahead of the machine's"),
    "idle_timeout_s": (5, "close a connection that is idle for so long (S3: about 5)"),
}


def bad_uri(message):
    return S3Error("InvalidURI", f"Couldn't parse the specified URI: {message}")


def decode(text, what):
    """Percent-decode text as received; it must be valid in itself and as UTF-8."""
    data = text.encode("iso-8859-1")
    if len(sigv4.uri_decode(data)) != len(data) - 2 * data.count(b"%"):
        raise bad_uri(f"stray % in the {what}")
    data = sigv4.uri_decode(data)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        raise bad_uri(f"the {what} is not UTF-8") from None
    return data


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    # Open connections die with the process: waiting for idle clients would hold up SIGTERM.
    block_on_close = False
    request_queue_size = 256

    def __init__(self, options):
        self.options = options
        self.settings = {name: getattr(options, name) for name in SETTINGS}
        self.credentials = sigv4.load_credentials(options.credentials)
        self.store = Store(options.root, options.region, options.min_part_bytes)
        for name in options.bucket:
            name, _, region = name.partition("=")
            self.store.create_bucket(name, region or None)
        self.operations = Operations(self.store, self.settings, Lister(options.page_size))
        self.faults, self.log, self.tls = Faults(), Log(), None
        if options.tls:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*options.tls)
        super().__init__((options.listen, options.port), Connection)

    def server_bind(self):
        # HTTPServer would look up the name of the address, which needs a resolver.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    def handle_error(self, request, client_address):
        # A client that goes away is daily life, anything else is a bug of ours.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    # What a request is about

    def split(self, request):
        """(bucket, key in bytes) of path style, or of virtual-hosted style by Host."""
        if not request.path.startswith("/"):
            raise bad_uri("the target must be a path")
        suffix = self.options.virtual_host
        host = (request.get("host") or "").rpartition(":")[0] or request.get("host") or ""
        if suffix and host.endswith("." + suffix):
            bucket = host[:-len(suffix) - 1]
            request.line = f"/{bucket}{request.target}"
            return bucket, decode(request.path[1:], "key")
        bucket, _, key = request.path[1:].partition("/")
        return decode(bucket, "bucket").decode(), decode(key, "key")

    def name(self, request):
        """bucket, key and query for the log, as far as they can be read."""
        try:
            bucket, key = self.split(request)
            return {"bucket": bucket, "key": key.decode(), "query": request.query}
        except S3Error:
            return {"bucket": None, "key": None, "query": request.query}

    @staticmethod
    def _query(request):
        query = {}
        for piece in request.query.split("&"):
            name, _, value = piece.replace("+", "%20").partition("=")
            name, value = decode(name, "query").decode(), decode(value, "query").decode()
            if name in query:
                raise S3Error("InvalidArgument", f"{name} is given twice", ArgumentName=name)
            # x-id names the operation for logs; AWS's SDKs send it.
            if name and name != "x-id" and not name.startswith("X-Amz-"):
                query[name] = value
        return query

    # S3

    def _authenticate(self, request, bucket):
        now = time.time() + self.settings["clock_offset_s"]
        region = self.store.region_of(bucket)
        redirects = self.options.wrong_region == "redirect"
        try:
            sigv4.verify(request.method, request.path, request.query, request.headers, None,
                         self.credentials, "s3", now, region=None if redirects else region)
        except sigv4.SigV4Error as error:
            if "Region" in error.detail:
                error.headers = [("x-amz-bucket-region", region)]
            raise
        if redirects and f"/{region}/s3/aws4_request" not in urllib.parse.unquote(
                (request.get("authorization") or "") + request.query):
            raise self._redirect(region, 301, True, None, bucket)

    @staticmethod
    def _redirect(region, status, header, endpoint, bucket):
        code = "PermanentRedirect" if status == 301 else "TemporaryRedirect"
        detail = {"Bucket": bucket, "Region": region,
                  "Endpoint": endpoint or f"{bucket}.s3.{region}.amazonaws.com"}
        return S3Error(code, "The bucket you are attempting to access must be addressed using "
                       "the specified endpoint.", status,
                       [("x-amz-bucket-region", region)] if header else [], **detail)

    def answer(self, request):
        if request.count("host") != 1:
            raise S3Error("InvalidRequest", "a request has exactly one Host header")
        bucket, key = self.split(request)
        call = Call(request, bucket, key, self._query(request))
        self._authenticate(request, bucket)
        owner = request.get("x-amz-expected-bucket-owner")
        if owner is not None and owner != self.options.owner:
            raise S3Error("AccessDenied", "Access Denied")
        request.rule = rule = self.faults.pick(f"{request.method} {request.line}")
        if self.settings["latency_ms"]:
            time.sleep(self.settings["latency_ms"] / 1000)
        if rule is None:
            return self.operations.run(call)
        if rule.kind == "slow":
            time.sleep(rule.get("ms") / 1000)
        while rule.kind == "hold" and self.faults.holds(rule):
            time.sleep(0.01)
        early = self._spoil(rule, bucket) if not rule.after() else None
        if early is not None:
            return early
        reply = self.operations.run(call)
        if rule.after():
            if hasattr(reply.body, "file"):
                reply.body.file.close()
            return self._spoil(rule, bucket)
        return self._edit(rule, reply)

    def _spoil(self, rule, bucket):
        """The answer in place of the right one, or None if the fault edits the right one."""
        if rule.kind == "reset" and "bytes" not in rule.fields:
            raise Drop(reset=True)
        if rule.kind == "redirect":
            raise self._redirect(rule.get("region"), rule.get("status", 301),
                                 rule.get("header", True), rule.get("endpoint"), bucket)
        if rule.kind == "status":
            code = rule.get("code", {500: "InternalError", 503: "SlowDown", 429: "TooManyRequests"
                                     }.get(rule.get("status"), "InternalError"))
            error = S3Error(code, rule.get("message", "fault asked for by the test"),
                            rule.get("status"))
            if rule.get("region"):
                error.detail["Region"] = rule.get("region")
                error.headers.append(("x-amz-bucket-region", rule.get("region")))
            if "date_offset_s" in rule.fields:
                date_s = time.time() + rule.get("date_offset_s")
                error.headers.append(("Date", time.strftime("%a, %d %b %Y %H:%M:%S GMT",
                                                            time.gmtime(date_s))))
            raise error
        if rule.kind == "ok-error":
            error = S3Error(rule.get("code", "InternalError"), rule.get("message", ""))
            return Reply(200, body=s3_xml.error_document(error, "EMU", "EMU"),
                         content_type="application/xml")
        if rule.kind == "body":
            return Reply(rule.get("status", 200), body=rule.get("body").encode(),
                         content_type=rule.get("content_type", "application/xml"))
        return None

    @staticmethod
    def _edit(rule, reply):
        if rule.kind == "etag":
            reply.set("ETag", '"' + rule.get("value", "00000000000000000000000000000000") + '"')
        if rule.kind == "headers":
            for name, value in rule.get("set").items():
                reply.set(name, value)
        return reply

    # Control

    def control(self, request):
        path, verb = request.path[len("/_emu/"):], request.method
        try:
            body = request.read_body(MAX_CONTROL_BYTES)
            return Reply(200, body=json.dumps(self._control(verb, path, request.query, body))
                         .encode() + b"\n", content_type=JSON)
        except (ValueError, TypeError, KeyError, S3Error) as error:
            return Reply(400, body=json.dumps({"error": str(error)}).encode() + b"\n",
                         content_type=JSON)

    def _control(self, verb, path, query, body):
        if path == "fault" and verb == "POST":
            return {"id": self.faults.add(body)}
        if path == "fault" and verb == "DELETE":
            return self.faults.clear()
        if path == "fault" and verb == "GET":
            return self.faults.list()
        if path == "log" and verb == "DELETE":
            return self.log.clear()
        if path == "log" and verb == "GET":
            return self.log.entries()
        if path == "stats" and verb == "GET":
            return self.log.stats()
        if path == "settings" and verb in ("GET", "POST"):
            return self._set(json.loads(body)) if verb == "POST" else self.settings
        if path == "path" and verb == "GET":
            fields = dict(urllib.parse.parse_qsl(query, strict_parsing=True))
            found = self.store.path(fields["bucket"], fields["key"].encode())
            return {"path": found and os.fsdecode(found)}
        raise ValueError(f"unknown control: {verb} /_emu/{path}")

    def _set(self, changes):
        for name, value in changes.items():
            if name not in SETTINGS or isinstance(value, bool) \
                    or not isinstance(value, (int, float)):
                raise ValueError(f"unknown setting or no number: {name}={value!r}")
        self.settings.update(changes)
        return self.settings


def parse_options(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--root", required=True, help="folder of the objects; made if missing")
    parser.add_argument("--credentials", required=True,
                        help='JSON file {"AKID": {"secret": ..., "token": ..., "expires": ...}}')
    parser.add_argument("--bucket", action="append", default=[], metavar="NAME[=REGION]",
                        help="create this bucket; repeatable")
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--wrong-region", choices=("malformed", "redirect"), default="malformed",
                        help="answer to another region: 400 AuthorizationHeaderMalformed, or 301")
    parser.add_argument("--virtual-host", metavar="SUFFIX",
                        help="a Host BUCKET.SUFFIX names the bucket; path style works as well")
    parser.add_argument("--owner", default="123456789012", help="account id of the buckets")
    parser.add_argument("--min-part-bytes", type=int, default=5 << 20)
    parser.add_argument("--listen", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--port-file", help="write the port here when ready")
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"), help="serve https")
    for name, (default, text) in SETTINGS.items():
        kind = float if name in ("clock_offset_s", "idle_timeout_s") else int
        parser.add_argument("--" + name.replace("_", "-"), type=kind, default=default,
                            help=f"{text}; default {default}")
    return parser.parse_args(arguments)


def main():
    options = parse_options(sys.argv[1:])
    # Threads inherit the mask, so that only sigwait() below sees these.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    os.makedirs(options.root, exist_ok=True)
    try:
        server = Server(options)
    except (OSError, ValueError, KeyError, S3Error) as error:
        print(f"s3.py: cannot start: {error}", file=sys.stderr)
        return 1
    with server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        port = server.server_address[1]
        if options.port_file:
            with open(options.port_file + ".new", "w", encoding="ascii") as file:
                file.write(f"{port}\n")
            os.rename(options.port_file + ".new", options.port_file)
        scheme = "https" if options.tls else "http"
        print(f"ready port={port} endpoint={scheme}://{options.listen}:{port}", flush=True)
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
        server.shutdown()
    if options.port_file:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(options.port_file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
