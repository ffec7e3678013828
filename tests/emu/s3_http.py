"""One HTTP/1.1 connection of s3.py: reads requests, sends replies, and spoils them on demand.

It decides nothing about S3: server.answer(request) gives a Reply or raises S3Error or
SigV4Error. Bodies go out by sendfile() and come in a MiB at a time, so that memory stays
small at any object size. A request's body is never used before its hash was compared.
"""

import base64
import contextlib
import email.utils
import hashlib
import http.server
import os
import re
import secrets
import select
import socket
import struct
import time
import zlib

import s3_xml
import sigv4
from s3_store import MAX_PUT_BYTES, S3Error

IO_TIMEOUT_S = 120
READ_BYTES = 1 << 20
DRAIN_BYTES = 16 << 20
MAX_LINE_BYTES = 65536
LAST_BYTES = 16384  # so many fit a socket, whether the client reads or not
CLOSING = ("cut", "stall", "reset")


class FileBody:
    """Bytes of an open file; closed after sending."""

    def __init__(self, file, offset, length):
        self.file, self.offset, self.length = file, offset, length


class Reply:
    def __init__(self, status, headers=(), body=b"", content_type=None):
        self.status, self.headers, self.body = status, list(headers), body
        if content_type:
            self.set("Content-Type", content_type)

    def set(self, name, value):
        """Set a header, or remove it with None."""
        self.headers = [pair for pair in self.headers if pair[0].lower() != name.lower()]
        if value is not None:
            self.headers.append((name, str(value)))

    def get(self, name):
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def length(self):
        return self.body.length if isinstance(self.body, FileBody) else len(self.body)


class Crc32:
    def __init__(self):
        self._value = 0

    def update(self, data):
        self._value = zlib.crc32(data, self._value)

    def digest(self):
        return struct.pack(">I", self._value)


CHECKSUMS = {"x-amz-checksum-sha256": hashlib.sha256, "x-amz-checksum-sha1": hashlib.sha1,
             "x-amz-checksum-crc32": Crc32}


class Drop(Exception):
    """End the connection; reset: with a TCP reset."""

    def __init__(self, reset=False):
        super().__init__("connection dropped")
        self.reset = reset


class Request:
    """A request as received. Names of headers are compared without case."""

    def __init__(self, connection, method, target, headers):
        self._connection = connection
        self.method, self.target, self.headers = method, target, headers
        self.path, _, self.query = target.partition("?")
        self.rule = None
        self.received = 0
        # What faults match: the target in path style.
        self.line = target

    def get(self, name, default=None):
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return ",".join(values) if values else default

    def count(self, name):
        return sum(1 for key, _ in self.headers if key.lower() == name.lower())

    def read_body(self, limit):
        """The whole body, checked against x-amz-content-sha256."""
        if self._connection.remaining > limit:
            raise S3Error("MaxMessageLengthExceeded", "Your request was too big.")
        data = bytearray()
        self._receive(data.extend)
        return bytes(data)

    def save_body(self, file):
        """Write the body to file; return its MD5 in hex. The body is checked."""
        return self._receive(file.write)

    def _receive(self, sink):
        connection, service = self._connection, "s3"
        if self.method in ("PUT", "POST") and self.get("content-length") is None:
            raise S3Error("MissingContentLength", "You must provide the Content-Length HTTP "
                          "header.")
        claimed = self.get("x-amz-content-sha256", sigv4.UNSIGNED)
        digests = {"md5": hashlib.md5()}
        if claimed != sigv4.UNSIGNED:
            digests["sha256"] = hashlib.sha256()
        for name, _ in self.headers:
            name = name.lower()
            if name.startswith("x-amz-checksum-") and name not in (
                    "x-amz-checksum-mode", "x-amz-checksum-algorithm", "x-amz-checksum-type"):
                if name not in CHECKSUMS:
                    raise S3Error("NotImplemented", f"{name} is beyond this server")
                digests[name] = CHECKSUMS[name]()
        for block in connection.body_blocks():
            self.received += len(block)
            for digest in digests.values():
                digest.update(block)
            sink(block)
        if "sha256" in digests and digests["sha256"].hexdigest() != claimed:
            raise sigv4.payload_mismatch(service, claimed, digests["sha256"].hexdigest())
        given = {name: base64.b64encode(digests[name].digest()).decode() for name in digests}
        for header, name in [("content-md5", "md5")] + [(name, name) for name in CHECKSUMS]:
            if self.get(header) is not None and self.get(header) != given[name]:
                raise S3Error("BadDigest", f"The {header} you specified did not match what we "
                              "received.", CalculatedDigest=given[name])
        return digests["md5"].hexdigest()


class Connection(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        # The handshake belongs to this thread: a slow client must not block accept().
        if self.server.tls is not None:
            self.request.settimeout(IO_TIMEOUT_S)
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.number = self.server.log.connected()
        self.remaining = 0
        self.expects = False

    def finish(self):
        self.server.log.disconnected()
        super().finish()
        if self.server.tls is not None:
            self.connection.close()

    def log_message(self, format, *args):  # the base class's name
        pass

    def handle_expect_100(self):
        # S3 asks for the body only once the headers are good.
        self.expects = True
        return True

    def handle_one_request(self):
        self.close_connection = True
        try:
            self.connection.settimeout(self.server.settings["idle_timeout_s"])
            self.raw_requestline = self.rfile.readline(MAX_LINE_BYTES + 1)
            if not self.raw_requestline or len(self.raw_requestline) > MAX_LINE_BYTES:
                return
            self.connection.settimeout(IO_TIMEOUT_S)
            self.expects = False
            if self.parse_request():
                self._serve()
        except Drop as drop:
            self.close_connection = True
            if drop.reset:
                self._reset()
        except (OSError, EOFError):
            self.close_connection = True

    def _reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())

    # Request bodies

    def body_blocks(self):
        if self.expects and self.remaining:
            self.connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.expects = False
        buffer = memoryview(bytearray(min(READ_BYTES, self.remaining)))
        while self.remaining:
            size = self.rfile.readinto(buffer[:min(len(buffer), self.remaining)])
            if not size:
                raise EOFError("the client closed in the middle of a body")
            self.remaining -= size
            yield buffer[:size]

    def _drop_body(self):
        """Get rid of a body nobody read, so that the next request can be found."""
        if not self.remaining:
            return
        if self.expects or self.remaining > DRAIN_BYTES:
            self.close_connection = True
        else:
            for _ in self.body_blocks():
                pass

    def _linger(self):
        """Let the client read the reply before unread data turns the close into a reset."""
        if self.remaining and not self.expects:
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(5)
            for _ in self.body_blocks():
                pass

    # Requests

    def _target(self):
        """The target as sent; the base class's self.path is edited."""
        return self.raw_requestline.split(b" ")[1].decode("iso-8859-1")

    def _serve(self):
        log = self.server.log
        request = Request(self, self.command, self._target(), list(self.headers.items()))
        started = time.monotonic()
        if request.path.startswith("/_emu/"):
            self._send(request, self._reply(request, {}, self.server.control), None)
            return
        entry = {"n": None, "time": time.time(), "method": request.method,
                 "target": request.target, **self.server.name(request),
                 "range": request.get("range"), "if_match": request.get("if-match"),
                 "connection": self.number, "status": 0, "code": None, "bytes": 0,
                 "received": 0, "fault": None, "ms": None}
        log.begin(entry)
        try:
            reply = self._reply(request, entry, self.server.answer)
            entry["status"] = reply.status
            self._drop_body()
            self._send(request, reply, entry)
            self._linger()
        finally:
            entry["received"] = request.received
            entry["fault"] = request.rule and request.rule.kind
            entry["ms"] = round((time.monotonic() - started) * 1000, 3)
            log.end(entry)

    def _length(self, request):
        text = request.get("content-length", "0")
        self.remaining = 0
        if request.get("transfer-encoding") is not None or not re.fullmatch(r"\d{1,18}", text):
            self.close_connection = True
            raise S3Error("NotImplemented", "a body needs one Content-Length here")
        if int(text) > MAX_PUT_BYTES:
            self.close_connection = True
            raise S3Error("EntityTooLarge", "Your proposed upload exceeds the maximum allowed "
                          "object size.", ProposedSize=text, MaxSizeAllowed=str(MAX_PUT_BYTES))
        self.remaining = int(text)

    def _reply(self, request, entry, answer):
        try:
            self._length(request)
            reply = answer(request)
        except (S3Error, sigv4.SigV4Error) as error:
            entry["code"] = error.code
            reply = self.error_reply(request, error)
        if request.method == "HEAD" and isinstance(reply.body, bytes):
            reply.body = b""
        return reply

    @staticmethod
    def error_reply(request, error):
        reply = Reply(error.status, getattr(error, "headers", ()))
        request_id, host_id = secrets.token_hex(8).upper(), secrets.token_urlsafe(24)
        reply.headers += [("x-amz-request-id", request_id), ("x-amz-id-2", host_id)]
        if error.status != 304 and request.method != "HEAD":
            reply.body = s3_xml.error_document(error, request_id, host_id)
            reply.set("Content-Type", "application/xml")
        return reply

    # Replies

    def _head(self, request, reply):
        date_s = time.time() + self.server.settings["clock_offset_s"]
        reply.headers.insert(0, ("Server", "s3emu"))
        if reply.get("Date") is None:
            reply.set("Date", email.utils.formatdate(date_s, usegmt=True))
        if reply.get("x-amz-request-id") is None:
            reply.set("x-amz-request-id", secrets.token_hex(8).upper())
        # A HEAD of an object names the length of what GET would send, 0 too; that of an error
        # does not.
        if reply.status not in (204, 304) and (request.method != "HEAD" or reply.status < 400):
            reply.set("Content-Length", reply.length)
        if self.close_connection:
            reply.set("Connection", "close")
        reason = self.responses.get(reply.status, ("Unknown",))[0]
        lines = [f"HTTP/1.1 {reply.status} {reason}"]
        lines += [f"{name}: {value}" for name, value in reply.headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("iso-8859-1", "replace")

    def _send(self, request, reply, entry):
        with contextlib.ExitStack() as stack:
            if isinstance(reply.body, FileBody):
                stack.enter_context(reply.body.file)
            head = self._head(request, reply)
            if entry is not None and request.rule is None and (
                    request.method == "HEAD" or reply.length <= LAST_BYTES):
                self.server.log.ending(entry)
            if request.method == "HEAD" or reply.length == 0:
                self.connection.sendall(head)
            elif isinstance(reply.body, bytes) and request.rule is None:
                self.connection.sendall(head + reply.body)
                if entry is not None:
                    entry["bytes"] += reply.length
            else:
                self.connection.sendall(head)
                self._send_body(reply, request.rule, entry)

    def _send_body(self, reply, rule, entry):
        kind = rule.kind if rule else None
        length = stop = reply.length
        rate = int(self.server.settings["rate_bytes_per_s"])
        if kind in CLOSING:
            stop = min(length, int(rule.get("bytes", length // 2)))
        if kind == "drip":
            rate = int(rule.get("bytes_per_s"))
        if kind == "flip":
            at = min(length - 1, int(rule.get("offset", length // 2)))
            self._send_piece(reply, 0, at, rate, entry)
            self._send_bytes(bytes([self._byte(reply, at) ^ 1]), entry)
            self._send_piece(reply, at + 1, length - at - 1, rate, entry)
        elif kind is None and not rate:
            first = max(0, length - LAST_BYTES)
            self._send_piece(reply, 0, first, rate, entry)
            self.server.log.ending(entry)
            self._send_piece(reply, first, length - first, rate, entry)
        else:
            self._send_piece(reply, 0, stop, rate, entry)
        if kind == "stall":
            # Wakes up early when the client gives up.
            select.select([self.connection], [], [], rule.get("ms", 600_000) / 1000)
        if kind in CLOSING:
            raise Drop(reset=kind == "reset")

    @staticmethod
    def _byte(reply, at):
        if isinstance(reply.body, FileBody):
            return os.pread(reply.body.file.fileno(), 1, reply.body.offset + at)[0]
        return reply.body[at]

    def _send_bytes(self, data, entry):
        self.connection.sendall(data)
        entry["bytes"] += len(data)

    def _send_piece(self, reply, start, count, rate, entry):
        """Bytes start .. start + count of the body, at rate bytes a second if not 0."""
        began, sent = time.monotonic(), 0
        step = max(1, rate // 50) if rate else max(1, count)
        while sent < count:
            size = min(step, count - sent)
            if isinstance(reply.body, FileBody):
                done = self.connection.sendfile(reply.body.file, reply.body.offset + start + sent,
                                                size)
                entry["bytes"] += done
                if done < size:
                    raise Drop()
            else:
                self._send_bytes(reply.body[start + sent:start + sent + size], entry)
            sent += size
            if rate:
                time.sleep(max(0, began + sent / rate - time.monotonic()))
