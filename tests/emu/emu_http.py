"""What the emulators share: fault tables, request logs, and a small HTTP/1.1 server.

Every emulator answers the same control paths, on its own HTTP port:
  POST /_emu/fault    add a fault: {"op": "...", "kind": "...", "times": 1, "skip": 0, ...};
                      {"error": "NAME"} is short for {"kind": "error", "error": "NAME"}
  GET /_emu/fault     faults still pending;  DELETE /_emu/fault  forgets them
  GET /_emu/log       what was asked, JSON lines;  DELETE /_emu/log  empties it
These servers listen on loopback for tests and have no access control on the control paths.
"""
import collections
import http.server
import json
import os
import shlex
import signal
import socketserver
import ssl
import threading
import time

MAX_BODY_BYTES = 1 << 20
MAX_LOG_ENTRIES = 20000
FOREVER = -1


class FaultTable:
    """Faults in order of arrival. Each says which operation it hits and how often.

    "op" names an operation or "*"; "times" is how often it fires (-1: always), "skip" how many
    matching calls pass unharmed first. A kind that the emulator does not have is refused.
    """

    def __init__(self, kinds, initial=()):
        self.kinds = frozenset(kinds)
        self._lock = threading.Lock()
        self._faults = [self._checked(fault) for fault in initial]

    def _checked(self, fault):
        if isinstance(fault, dict) and "error" in fault:
            fault = {"kind": "error", **fault}
        if not isinstance(fault, dict) or not isinstance(fault.get("kind"), str):
            raise ValueError('a fault is an object with at least "kind" or "error"')
        if fault["kind"] not in self.kinds:
            raise ValueError(f"no fault {fault['kind']}; there are {', '.join(sorted(self.kinds))}")
        for name in ("times", "skip"):
            if not isinstance(fault.get(name, 0), int):
                raise ValueError(f"{name} is not a number")
        return {"op": "*", "times": 1, "skip": 0, **fault}

    def add(self, fault):
        checked = self._checked(fault)
        with self._lock:
            self._faults.append(checked)

    def clear(self):
        with self._lock:
            self._faults.clear()

    def pending(self):
        with self._lock:
            return [dict(fault) for fault in self._faults]

    def take(self, op, kinds=None):
        """The first fault for op (and of these kinds) that is due, or None."""
        due = self._collect(op, kinds, only_first=True)
        return due[0] if due else None

    def take_all(self, op, kinds=None):
        """Every fault for op that is due; several can act on one answer."""
        return self._collect(op, kinds, only_first=False)

    def _collect(self, op, kinds, only_first):
        due = []
        with self._lock:
            for fault in list(self._faults):
                if fault["op"] not in ("*", op) or (kinds and fault["kind"] not in kinds):
                    continue
                if fault["skip"] > 0:
                    fault["skip"] -= 1
                    continue
                due.append(dict(fault))
                if fault["times"] != FOREVER:
                    fault["times"] -= 1
                    if fault["times"] <= 0:
                        self._faults.remove(fault)
                if only_first:
                    break
        return due


class RequestLog:
    """The last requests, in memory and optionally in a file of JSON lines."""

    def __init__(self, path=None):
        self._lock = threading.Lock()
        self._entries = collections.deque(maxlen=MAX_LOG_ENTRIES)
        self._file = open(path, "a", encoding="utf-8") if path else None

    def add(self, **entry):
        entry = {"time": round(time.time(), 3), **entry}
        with self._lock:
            self._entries.append(entry)
            if self._file:
                self._file.write(json.dumps(entry) + "\n")
                self._file.flush()

    def entries(self):
        with self._lock:
            return list(self._entries)

    def clear(self):
        with self._lock:
            self._entries.clear()


class CutConnection(Exception):
    """Raised by a handler to close the connection without (or in the middle of) an answer."""


class Handler(http.server.BaseHTTPRequestHandler):
    """Reads one request, answers the control paths, gives everything else to emulator.serve().

    serve(request) returns (status, headers, body). The emulator object has `faults`, `log` and may
    have `control(request)`, which returns None for paths that it does not know, and `now()`.
    """
    protocol_version = "HTTP/1.1"
    server_version = "Server"
    sys_version = ""
    wbufsize = -1
    disable_nagle_algorithm = True

    def _dispatch(self):
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            self._answer(413, {}, b"")
            return
        self.body = self.rfile.read(int(length))
        if len(self.body) != int(length):
            self.close_connection = True
            return
        self.header_list = [(name, value) for name, value in self.headers.items()]
        self.raw_path, _, self.raw_query = self.path.partition("?")
        try:
            if self.raw_path.startswith("/_emu/"):
                answer = self._control()
            else:
                answer = self.server.emulator.serve(self)
            self._answer(*answer)
        except CutConnection:
            self.close_connection = True
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _dispatch

    def _control(self):
        emulator = self.server.emulator
        if self.raw_path == "/_emu/fault":
            if self.command == "POST":
                try:
                    emulator.faults.add(json.loads(self.body))
                except ValueError as failure:
                    return json_answer(400, {"error": str(failure)})
            elif self.command == "DELETE":
                emulator.faults.clear()
            return json_answer(200, emulator.faults.pending())
        if self.raw_path == "/_emu/log":
            if self.command == "DELETE":
                emulator.log.clear()
            lines = "".join(json.dumps(entry) + "\n" for entry in emulator.log.entries())
            return 200, {"Content-Type": "application/x-ndjson"}, lines.encode()
        answer = emulator.control(self) if hasattr(emulator, "control") else None
        return answer or json_answer(404, {"error": "unknown control path"})

    def _answer(self, status, headers, body):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def cut_after(self, status, headers, body, sent_bytes):
        """Announce the whole body, send a part, and close."""
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:sent_bytes])
        self.wfile.flush()
        raise CutConnection

    def header(self, name, default=None):
        return self.headers.get(name, default)

    def date_time_string(self, timestamp=None):
        """The Date header shows the emulator's own clock."""
        now = getattr(self.server.emulator, "now", time.time)
        return super().date_time_string(now() if timestamp is None else timestamp)

    def log_message(self, *_arguments):
        """Requests go to the emulator's own log."""


def json_answer(status, value, headers=None, content_type="application/json"):
    return status, {"Content-Type": content_type, **(headers or {})}, json.dumps(value).encode()


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """HTTP server of one emulator; runs in threads that end with the process."""
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, emulator, host="127.0.0.1", port=0, tls=None):
        super().__init__((host, port), Handler)
        self.emulator = emulator
        self.thread = None
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.socket = context.wrap_socket(self.socket, server_side=True,
                                              do_handshake_on_connect=False)

    @property
    def port(self):
        return self.server_address[1]

    def server_bind(self):
        # The base class asks the resolver for this host's name, which can take seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    def handle_error(self, request, client_address):
        """A client that goes away is no event."""

    def start(self):
        self.thread = threading.Thread(target=self.serve_forever, args=(0.1,), daemon=True)
        self.thread.start()
        return self

    def stop(self):
        if self.thread:
            self.shutdown()
            self.thread.join()
            self.thread = None
        self.server_close()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_unused):
        self.stop()


def announce(values, port_file=None):
    """Print the ready line and write the same values to a file that a shell can source."""
    if port_file:
        with open(port_file + ".new", "w", encoding="utf-8") as out:
            for name, value in values.items():
                out.write(f"{name}={shlex.quote(str(value))}\n")
        os.replace(port_file + ".new", port_file)
    print("ready " + " ".join(f"{name}={value}" for name, value in values.items()), flush=True)


def stop_event():
    """An event that SIGTERM and SIGINT set; call in the main thread before anything is started."""
    event = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_unused: event.set())
    return event
