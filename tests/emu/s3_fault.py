"""What s3.py does wrong on purpose, and what it remembers of the requests.

A fault is a JSON object posted to /_emu/fault while the server runs:

    {"match": "GET .*\\\\.sealed", "times": 2, "kind": "status", "code": "SlowDown"}

match   regular expression, searched in "METHOD /bucket/key?query" as received; default all
skip    let that many matching requests pass first; default 0
times   how many requests it spoils, then it is gone; default 1, -1 for ever
kind    one of KINDS below, with its own fields

Faults act only on requests whose signature is good, so that none hides a bad one. The first
rule that matches is used. An unknown kind or field is refused, so that a test cannot
believe in a fault that does nothing.
"""

import collections
import json
import re
import threading
import time

# kind: (needed fields, allowed fields)
KINDS = {
    # Answer with an error instead. when "after": do the work, then say it failed.
    "status": ((), ("status", "code", "message", "region", "date_offset_s", "when")),
    # Close with a TCP reset; when "after": do the work first; bytes: after so much of the body.
    "reset": ((), ("when", "bytes")),
    # Close in good order after so many bytes of the body (default half).
    "cut": ((), ("bytes",)),
    # Send so many bytes of the body (default half), then nothing for ms (default 10 minutes).
    "stall": ((), ("bytes", "ms")),
    # Nothing for ms, then the right answer.
    "slow": (("ms",), ()),
    # Nothing until the faults are cleared, then the right answer to what is there by then.
    "hold": ((), ()),
    # Send the body at this rate.
    "drip": (("bytes_per_s",), ()),
    # Flip the lowest bit of one byte of the body (default the middle one).
    "flip": ((), ("offset",)),
    # A Content-Range that is wrong by so many bytes (default 1), over the right bytes.
    "content-range": ((), ("shift",)),
    # 200 and the whole object although a range was asked for.
    "full": ((), ()),
    # A correct 206 of fewer bytes than asked (default half).
    "short": ((), ("bytes",)),
    # Another ETag on the answer, whatever If-Match said.
    "etag": ((), ("value",)),
    # Set headers of the answer; null removes one.
    "headers": (("set",), ()),
    # PermanentRedirect (301) or TemporaryRedirect (307) to a region.
    "redirect": (("region",), ("status", "header", "endpoint")),
    # 200, then an <Error> in the body; when "after": the work was done.
    "ok-error": ((), ("code", "message", "when")),
    # Any answer at all, for hostile XML and the like.
    "body": (("body",), ("status", "content_type")),
}
COMMON = ("match", "skip", "times", "kind")


class Rule:
    def __init__(self, number, fields):
        if not isinstance(fields, dict):
            raise ValueError("a fault is a JSON object")
        kind = fields.get("kind")
        if kind not in KINDS:
            raise ValueError(f"unknown kind {kind!r}; known: {', '.join(KINDS)}")
        needed, allowed = KINDS[kind]
        missing = [name for name in needed if name not in fields]
        unknown = [name for name in fields if name not in COMMON + needed + allowed]
        if missing or unknown:
            raise ValueError(f"kind {kind!r}: missing {missing}, unknown {unknown}")
        if fields.get("when", "before") not in ("before", "after"):
            raise ValueError("when is \"before\" or \"after\"")
        if fields.get("when") == "after" and "bytes" in fields:
            raise ValueError("when \"after\" sends no body, so bytes has no meaning")
        self.number, self.kind, self.fields = number, kind, fields
        try:
            self.pattern = re.compile(fields.get("match", ""))
        except re.error as error:
            raise ValueError(f"match: {error}") from error
        self.skip, self.times = int(fields.get("skip", 0)), int(fields.get("times", 1))
        self.hits = 0

    def get(self, name, default=None):
        return self.fields.get(name, default)

    def after(self):
        return self.get("when") == "after"

    def describe(self):
        return {**self.fields, "id": self.number, "hits": self.hits, "skip": self.skip,
                "times": self.times}


class Faults:
    def __init__(self):
        self._lock = threading.Lock()
        self._rules = []
        self._next = 1

    def add(self, text):
        """Add one rule or a list of them; return their ids. ValueError says what is wrong."""
        given = json.loads(text)
        with self._lock:
            given = given if isinstance(given, list) else [given]
            rules = [Rule(self._next + i, fields) for i, fields in enumerate(given)]
            self._next += len(rules)
            self._rules += rules
            return [rule.number for rule in rules]

    def clear(self):
        with self._lock:
            self._rules = []

    def holds(self, rule):
        with self._lock:
            return rule in self._rules

    def list(self):
        with self._lock:
            return [rule.describe() for rule in self._rules]

    def pick(self, line):
        """The rule for this request, or None. A rule used up stays listed with times 0."""
        with self._lock:
            for rule in self._rules:
                if rule.times == 0 or not rule.pattern.search(line):
                    continue
                if rule.skip > 0:
                    rule.skip -= 1
                    continue
                rule.hits += 1
                rule.times -= rule.times > 0
                return rule
        return None


class Log:
    """The last requests and running sums."""

    KEEP = 100_000
    SETTLE_S, ENDING_S = 0.3, 20

    def __init__(self):
        self._lock = threading.Condition()
        self._start = time.monotonic()
        self._open, self._ending = {}, set()
        self.connections = self.open_connections = self.most_connections = 0
        self.most_in_flight = 0
        self.clear()

    def clear(self):
        with self._lock:
            self._entries = collections.deque(maxlen=self.KEEP)
            self._count = self._sent = self._received = 0
            self._by_status, self._by_method = collections.Counter(), collections.Counter()
            self.connections = self.most_connections = self.open_connections
            self.most_in_flight = len(self._open)

    def connected(self):
        with self._lock:
            self.connections += 1
            self.open_connections += 1
            self.most_connections = max(self.most_connections, self.open_connections)
            return self.connections

    def disconnected(self):
        with self._lock:
            self.open_connections -= 1

    def begin(self, entry):
        with self._lock:
            self._open[id(entry)] = entry
            self.most_in_flight = max(self.most_in_flight, len(self._open))

    def ending(self, entry):
        """The client may have its whole answer from now on."""
        with self._lock:
            self._ending.add(id(entry))

    def end(self, entry):
        with self._lock:
            del self._open[id(entry)]
            self._ending.discard(id(entry))
            self._lock.notify_all()
            self._count += 1
            entry["n"] = self._count
            self._entries.append(entry)
            self._sent += entry["bytes"]
            self._received += entry["received"]
            self._by_status[str(entry["status"])] += 1
            self._by_method[entry["method"]] += 1

    def _settle(self):
        """A client has its answer a moment before the thread that sent it says so here."""
        ending = set(self._ending)
        self._lock.wait_for(lambda: not ending & self._ending, self.ENDING_S)
        self._lock.wait_for(lambda: not self._open, self.SETTLE_S)

    def entries(self):
        """The requests in the order in which they came; "n" of those still open is null."""
        with self._lock:
            self._settle()
            found = list(self._entries) + [dict(entry) for entry in self._open.values()]
        return sorted(found, key=lambda entry: entry["time"])

    def stats(self):
        with self._lock:
            self._settle()
            return {"requests": self._count, "bytes_sent": self._sent,
                    "bytes_received": self._received, "by_status": dict(self._by_status),
                    "by_method": dict(self._by_method), "connections": self.connections,
                    "open_connections": self.open_connections,
                    "most_connections": self.most_connections, "in_flight": len(self._open),
                    "most_in_flight": self.most_in_flight,
                    "uptime_s": round(time.monotonic() - self._start, 3)}
