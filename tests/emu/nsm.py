#!/usr/bin/python3
"""A Nitro Secure Module for tests: what /dev/nsm answers in a Nitro Enclave.

Written from AWS's nsm-api (requests, responses, error names) and from the description of QEMU's virtio-nsm
device (PCR semantics). Listens on a Unix socket of type SOCK_SEQPACKET: a message is what one ioctl carries.
Every request is checked on its own: it must be the one encoding that AWS's library emits, with exactly the
fields of its operation. What is not is refused, and stands in the log as malformed. An HTTP port has faults,
log and state (README.md).
"""
import argparse
import hashlib
import io
import json
import os
import pathlib
import shutil
import socket
import sys
import tempfile
import threading

import cbor2

import emu_http
import nsm_attest
import testca

MAX_REQUEST_BYTES = 0x1000
MAX_RESPONSE_BYTES = 0x3000
MAX_PCRS = 32
IMAGE_PCRS = 16
RANDOM_BYTES = 256
TRANSPORT_FAULTS = ("drop", "hang", "raw", "not-extended")
HANG_S = 3600
INDEX, DATA, RANGE = "index", "data", "range"
# Fields of each operation; () means the name alone.
OPERATIONS = {"DescribePCR": (INDEX,), "ExtendPCR": (INDEX, DATA), "LockPCR": (INDEX,), "LockPCRs": (RANGE,),
              "DescribeNSM": (), "GetRandom": (), "Attestation": ("user_data", "nonce", "public_key")}
ERRORS = ("InvalidArgument", "InvalidIndex", "InvalidResponse", "ReadOnlyIndex", "InvalidOperation",
          "BufferTooSmall", "InputTooLarge", "InternalError")


class Refused(Exception):
    """One of ERRORS."""


class Malformed(Exception):
    """A request that AWS's library would not have sent; the text says why."""


def parse(raw):
    """(operation, fields) of a request, or Malformed."""
    if not 0 < len(raw) <= MAX_REQUEST_BYTES:
        raise Malformed(f"{len(raw)} bytes")
    source = io.BytesIO(raw)
    try:
        value = cbor2.CBORDecoder(source).decode()
    except Exception as failure:
        raise Malformed(f"not CBOR: {failure}") from failure
    if source.read(1):
        raise Malformed("bytes behind the request")
    if cbor2.dumps(value) != raw:
        raise Malformed("not the shortest encoding")
    if isinstance(value, str):
        operation, fields = value, {}
    elif isinstance(value, dict) and len(value) == 1:
        operation, fields = next(iter(value.items()))
    else:
        raise Malformed("neither a name nor a map of one")
    if operation not in OPERATIONS:
        raise Malformed(f"no such operation: {operation!r}")
    wanted = OPERATIONS[operation]
    if isinstance(value, str) != (not wanted) or not isinstance(fields, dict) or tuple(fields) != wanted:
        raise Malformed(f"{operation} has other fields")
    for name, item in fields.items():
        if name in (INDEX, RANGE):
            good = isinstance(item, int) and not isinstance(item, bool) and 0 <= item < 65536
        else:
            good = isinstance(item, bytes) or (item is None and name != DATA)
        if not good:
            raise Malformed(f"{operation}: {name} is {item!r}")
    return operation, fields


class Nsm:
    """One module. image: {index: 48 bytes} of the PCRs that are locked from the start."""

    def __init__(self, state_dir, ca_dir=None, image=None, instance_id=testca.DEFAULT_INSTANCE_ID, faults=(),
                 log_file=None):
        state = pathlib.Path(state_dir).resolve()
        state.mkdir(parents=True, exist_ok=True)
        self.authority = testca.TestCa(ca_dir or state / "ca", testca.DEFAULT_REGION, instance_id)
        self.attester = nsm_attest.EnclaveAttester(self.authority, state / "foreign-ca")
        self.image = dict(image or {})
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.faults = emu_http.FaultTable(TRANSPORT_FAULTS + nsm_attest.DOCUMENT_FAULTS, faults)
        self.log = emu_http.RequestLog(log_file)
        self.restart()

    def restart(self):
        """A fresh enclave of the same image."""
        self.pcrs = [self.image.get(index, bytes(48)) for index in range(MAX_PCRS)]
        self.locked = [index < IMAGE_PCRS for index in range(MAX_PCRS)]

    def execute(self, raw):
        """The response to one request; None: none comes."""
        try:
            operation, fields = parse(raw)
        except Malformed as failure:
            self.log.add(operation="?", verdict="malformed", why=str(failure), request=raw[:64].hex())
            return nsm_attest.error_response("InvalidArgument")
        faults = self.faults.take_all(operation)
        kinds = {fault["kind"]: fault for fault in faults}
        if "hang" in kinds:
            self.stopping.wait(HANG_S)
        if "drop" in kinds:
            return None
        if "raw" in kinds:
            return bytes.fromhex(kinds["raw"]["hex"])
        with self.lock:
            try:
                if "error" in kinds:
                    raise Refused(kinds["error"]["error"])
                response = getattr(self, "do_" + operation)(fields, raw, faults)
                verdict = "ok"
            except Refused as refusal:
                verdict = str(refusal)
                response = nsm_attest.error_response(verdict)
        self.log.add(operation=operation, verdict=verdict,
                     **{name: item.hex() if isinstance(item, bytes) else item for name, item in fields.items()})
        return response

    def _index(self, fields, changes):
        index = fields[INDEX]
        if index >= MAX_PCRS:
            raise Refused("InvalidIndex")
        if changes and self.locked[index]:
            raise Refused("ReadOnlyIndex")
        return index

    def do_DescribePCR(self, fields, _raw, _faults):
        index = self._index(fields, False)
        return cbor2.dumps({"DescribePCR": {"lock": self.locked[index], "data": self.pcrs[index]}})

    def do_ExtendPCR(self, fields, _raw, faults):
        index = self._index(fields, True)
        if not fields[DATA]:
            raise Refused("InvalidArgument")
        value = hashlib.sha384(self.pcrs[index] + fields[DATA]).digest()
        if "not-extended" not in {fault["kind"] for fault in faults}:
            self.pcrs[index] = value
        return cbor2.dumps({"ExtendPCR": {"data": value}})

    def do_LockPCR(self, fields, _raw, _faults):
        self.locked[self._index(fields, True)] = True
        return cbor2.dumps("LockPCR")

    def do_LockPCRs(self, fields, _raw, _faults):
        if fields[RANGE] > MAX_PCRS:
            raise Refused("InvalidIndex")
        for index in range(fields[RANGE]):
            self.locked[index] = True
        return cbor2.dumps("LockPCRs")

    def do_DescribeNSM(self, _fields, _raw, _faults):
        return cbor2.dumps({"DescribeNSM": {
            "version_major": 1, "version_minor": 0, "version_patch": 0, "module_id": self.attester.module_id,
            "max_pcrs": MAX_PCRS, "locked_pcrs": [n for n in range(MAX_PCRS) if self.locked[n]],
            "digest": "SHA384"}})

    def do_GetRandom(self, _fields, _raw, _faults):
        return cbor2.dumps({"GetRandom": {"random": os.urandom(RANDOM_BYTES)}})

    def do_Attestation(self, _fields, raw, faults):
        shown = {index: self.pcrs[index] for index in range(MAX_PCRS) if self.locked[index]}
        return self.attester.respond(raw, shown, faults) or nsm_attest.error_response("InternalError")

    def state(self):
        with self.lock:
            return {"pcrs": [value.hex() for value in self.pcrs],
                    "locked": [n for n in range(MAX_PCRS) if self.locked[n]],
                    "module_id": self.attester.module_id, "root": str(self.authority.root_path)}

    # emu_http

    def serve(self, request):
        return emu_http.json_answer(404, {"error": f"no such path: {request.raw_path}"})

    def control(self, request):
        """GET /_emu/state; POST /_emu/restart."""
        if request.raw_path == "/_emu/restart" and request.command == "POST":
            with self.lock:
                self.restart()
        elif request.raw_path != "/_emu/state":
            return None
        return emu_http.json_answer(200, self.state())


class Listener:
    """The socket, a thread for each client."""

    def __init__(self, module, path):
        self.module = module
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.bind(path)
        os.chmod(path, 0o666)
        self.socket.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client:
            while True:
                try:
                    raw = client.recv(MAX_REQUEST_BYTES + 1)
                    if not raw:
                        return
                    response = self.module.execute(raw)
                    if response is None:
                        return
                    client.send(response)
                except OSError:
                    return


def parse_pcr(text):
    """"0=<96 hex>" as (0, bytes)."""
    index, _, value = text.partition("=")
    if not index.isdigit() or int(index) >= IMAGE_PCRS or len(value) != 96:
        raise ValueError(f"not PCR=<96 hex digits> with a PCR of the image: {text}")
    return int(index), bytes.fromhex(value)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--state", help="directory that survives (default: temporary)")
    parser.add_argument("--ca", help="directory of the test authority (default: STATE/ca)")
    parser.add_argument("--socket", required=True, help="path of the Unix socket")
    parser.add_argument("--pcr", action="append", default=[], metavar="PCR=HEX", help="a value of the image's PCRs")
    parser.add_argument("--port", type=int, default=0, help="HTTP control port")
    parser.add_argument("--port-file", help="write port, root and socket, for a shell to source")
    parser.add_argument("--fault", action="append", default=[], type=json.loads, metavar="JSON")
    parser.add_argument("--log", help="append the request log to this file")
    options = parser.parse_args(argv)
    stop = emu_http.stop_event()
    state = options.state or tempfile.mkdtemp(prefix="nsm.")
    try:
        module = Nsm(state, options.ca, dict(parse_pcr(text) for text in options.pcr), faults=options.fault,
                     log_file=options.log)
        Listener(module, options.socket)
        with emu_http.Server(module, port=options.port) as http:
            emu_http.announce({"port": http.port, "root": module.authority.root_path, "socket": options.socket},
                              options.port_file)
            stop.wait()
        module.stopping.set()
    except (OSError, ValueError) as failure:
        print(f"nsm: {failure}", file=sys.stderr)
        return 1
    finally:
        for path in filter(None, (options.port_file, options.socket)):
            if os.path.exists(path):
                os.unlink(path)
        if not options.state:
            shutil.rmtree(state, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
