#!/usr/bin/python3
"""A NitroTPM for tests: swtpm with the vendor command that returns attestation documents.

Listens on a TCP port pair as the `swtpm` TCTI of tpm2-tss expects (data on P, control on P+1).
Commands that it does not know go to swtpm byte for byte; one command at a time, any number of
clients. On top come the 8192-byte mailbox indices, the vendor command 0x20000001, and the identity
of a NitroTPM in GetCapability. A third port speaks HTTP: faults, log, state, reboot (README.md).
"""
import argparse
import hashlib
import json
import os
import pathlib
import shutil
import socket
import socketserver
import struct
import sys
import tempfile
import threading

import emu_http
import nsm_attest
import nv_mailbox
import swtpm_child
import testca
import tpm_sessions
import tpm_wire as wire

TRANSPORT_FAULTS = ("rc", "retry", "drop", "drop-after", "hang", "delay", "short-answer", "reboot")
HANG_S = 3600
PORT_ATTEMPTS = 200
DEFAULT_BANKS = ("sha256", "sha384")
NAMES_BY_CODE = {code: name for name, code in wire.COMMAND_NAMES.items()}


class NitroTpm:
    """The emulated device. execute() is what a client's command runs through."""

    def __init__(self, state_dir, ca_dir=None, banks=DEFAULT_BANKS, extends=(), mailboxes=4,
                 nv_index_max=8192, nv_buffer_max=1024, region=testca.DEFAULT_REGION,
                 instance_id=testca.DEFAULT_INSTANCE_ID, plain=False, external=None,
                 swtpm_path="swtpm", faults=(), log_file=None, indefinite_outer=False,
                 passthrough=False):
        self.state_dir = pathlib.Path(state_dir).resolve()
        self.state_dir.mkdir(parents=True, exist_ok=True)
        self.authority = testca.TestCa(ca_dir or self.state_dir / "ca", region, instance_id)
        self.attester = nsm_attest.Attester(self.authority, self.state_dir / "foreign-ca",
                                            indefinite_outer)
        self.banks = tuple(banks)
        self.extends = list(extends)
        self.plain = plain
        self.passthrough = passthrough
        self.external = external
        self.swtpm_path = swtpm_path
        self.swtpm = swtpm_child.Swtpm()
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.faults = emu_http.FaultTable(TRANSPORT_FAULTS + nsm_attest.DOCUMENT_FAULTS, faults)
        self.log = emu_http.RequestLog(log_file)
        self._boot()
        self.mailboxes = nv_mailbox.NvMailboxes(self.swtpm, self.state_dir / "mailboxes.json",
                                                mailboxes, nv_index_max, nv_buffer_max)
        self.mailboxes.reconcile()
        self.sessions = tpm_sessions.Sessions(self.swtpm, self.state_dir / "storage-seed",
                                              self._run_plain, self.mailboxes.auth_value)

    def _boot(self):
        """Start swtpm with the wanted banks and extend what firmware would have extended."""
        if self.external:
            self.swtpm.connect(*self.external)
        else:
            self.swtpm.start(self.state_dir / "tpm", self.swtpm_path)
            if set(self._active_banks()) != set(self.banks):
                self.swtpm.run(wire.pcr_allocate_command(self.banks))
                # An allocation takes effect when the TPM is initialised again.
                self.swtpm.stop()
                self.swtpm.start(self.state_dir / "tpm", self.swtpm_path)
        for index, digest in self.extends:
            self.swtpm.run(wire.pcr_extend_command(index, bank_digests(digest, self.banks)))

    def _active_banks(self):
        response = self.swtpm.run(wire.get_capability_command(5, 0, 1))
        reader = wire.Reader(response[wire.HEADER.size:])
        reader.take(5)
        names = {number: name for name, (number, _) in wire.HASHES.items()}
        active = []
        for _ in range(reader.number(4)):
            number = reader.number(2)
            if any(reader.take(reader.number(1))):
                active.append(names.get(number, f"0x{number:x}"))
        return active

    def reboot(self, extends=None):
        """PCRs go back to their values after firmware; NV and keys stay."""
        with self.lock:
            if self.external:
                raise swtpm_child.SwtpmError("a given swtpm is not rebooted")
            self.swtpm.stop()
            if extends is not None:
                self.extends = list(extends)
            self.sessions.reset()
            self._boot()

    def stop(self):
        self.stopping.set()
        with self.lock:
            self.swtpm.stop()

    def read_pcrs(self, bank="sha384"):
        """{index: digest} of one bank; the caller holds the lock."""
        values = {}
        while len(values) < 24:
            wanted = [index for index in range(24) if index not in values]
            indices, digests = wire.parse_pcr_read(
                self.swtpm.run(wire.pcr_read_command(bank, wanted)))
            if not digests:
                break
            values.update(zip(indices, digests))
        return values

    def state(self):
        """What the control port reports."""
        with self.lock:
            return {
                "pcrs": {bank: {str(index): value.hex()
                                for index, value in self.read_pcrs(bank).items()}
                         for bank in self.banks},
                "nv_indices": [f"0x{index:08x}" for index in self.mailboxes.native_indices()],
                "mailboxes": {f"0x{index:08x}": len(data)
                              for index, data in self.mailboxes.contents.items()},
                "module_id": self.attester.module_id, "region": self.authority.region,
                "root": str(self.authority.root_path), "swtpm_pid": self.swtpm.pid,
                "active": {"keys": len(self.sessions.keys),
                           "sessions": len(self.sessions.sessions)},
            }

    def execute(self, command):
        """One command, one response. Raises CutConnection when a fault says so."""
        code = wire.parse_header(command)[2]
        name = NAMES_BY_CODE.get(code, f"0x{code:x}")
        effects = {fault["kind"]: fault for fault in self.faults.take_all(name, TRANSPORT_FAULTS)}
        if "delay" in effects:
            self.stopping.wait(effects["delay"].get("ms", 100) / 1000)
        if "hang" in effects:
            self.stopping.wait(effects["hang"].get("seconds", HANG_S))
            raise emu_http.CutConnection
        if "drop" in effects:
            raise emu_http.CutConnection
        if "reboot" in effects:
            self.reboot()
        if "retry" in effects:
            response = wire.error_response(wire.RC_RETRY)
        elif "rc" in effects:
            response = wire.error_response(int(str(effects["rc"]["rc"]), 0))
        else:
            with self.lock:
                response = self._run(command)
        rc = wire.response_code(response)
        self.log.add(command=name, rc=f"0x{rc:x}")
        if "drop-after" in effects:
            raise emu_http.CutConnection
        if "short-answer" in effects and rc == wire.RC_SUCCESS:
            response = wire.plain_response(b"")
        return response

    def _run(self, command):
        if self.passthrough:
            return self.swtpm.exchange(command)
        try:
            response = self.sessions.handle(command)
        except wire.WireError:
            response = None  # swtpm finds the fault in a malformed command itself.
        return self._run_plain(command) if response is None else response

    def _run_plain(self, command):
        code = wire.parse_header(command)[2]
        if code == wire.CC_VENDOR_NSM:
            if self.plain:
                return wire.error_response(wire.RC_COMMAND_CODE)
            try:
                return self._vendor(command)
            except wire.WireError as failure:
                return wire.error_response(failure.rc)
        response = self.mailboxes.handle(command)
        if response is None:
            response = self.swtpm.exchange(command)
        if code == wire.CC_GET_CAPABILITY:
            response = self._merge_capability(command, response)
        return response

    def _vendor(self, data):
        """TPM2_VENDOR_AWS_NSM_REQUEST: mailbox contents are replaced by the response."""
        command = wire.parse_command(data, 2)
        if command.tag != wire.TAG_SESSIONS:
            return wire.error_response(wire.RC_AUTH_MISSING)
        if command.parameters:
            return wire.error_response(wire.RC_SIZE)
        index = command.handles[1]
        if command.handles[0] != index:
            return wire.error_response(wire.RC_NV_AUTHORIZATION)
        # swtpm checks existence, password and "written" on the placeholder.
        probe = self.mailboxes.probe_read(command)
        if wire.response_code(probe):
            return probe
        contents = self.mailboxes.contents.get(index)
        if contents is None:
            return wire.error_response(wire.RC_NV_RANGE)
        due = self.faults.take_all("vendor", nsm_attest.DOCUMENT_FAULTS)
        answer = self.attester.respond(bytes(contents), self.read_pcrs(), due)
        if answer is not None:
            if len(answer) > len(contents):
                return wire.error_response(wire.RC_NV_RANGE)
            contents[:] = answer + nv_mailbox.PADDING * (len(contents) - len(answer))
            self.mailboxes.save()
        return wire.session_response(b"", wire.response_auth(probe))

    def _merge_capability(self, command, response):
        """Add what NitroTPM has and swtpm has not: vendor command, sizes, identity."""
        if wire.response_code(response) or wire.parse_header(command)[0] != wire.TAG_NO_SESSIONS:
            return response
        asked = wire.Reader(command[wire.HEADER.size:])
        capability, first, limit = asked.number(4), asked.number(4), asked.number(4)
        reader = wire.Reader(response[wire.HEADER.size:])
        more = reader.number(1)
        reader.number(4)
        if capability == wire.CAP_COMMANDS and not self.plain:
            codes = [reader.number(4) for _ in range(reader.number(4))]
            if not more and first <= wire.CC_VENDOR_NSM:
                if len(codes) < limit:
                    codes.append(wire.CC_VENDOR_NSM_TPMA)
                else:
                    more = 1
            body = b"".join(struct.pack(">I", code) for code in codes)
            return _capability_response(more, capability, len(codes), body)
        if capability == wire.CAP_TPM_PROPERTIES:
            pairs = [(reader.number(4), reader.number(4)) for _ in range(reader.number(4))]
            body = b"".join(struct.pack(">II", name, self._property(name, value))
                            for name, value in pairs)
            return _capability_response(more, capability, len(pairs), body)
        return response

    def _property(self, name, value):
        if name == wire.PT_NV_BUFFER_MAX:
            return self.mailboxes.buffer_max
        if name == wire.PT_NV_INDEX_MAX:
            return self.mailboxes.index_max
        if self.plain:
            return value
        if name in (wire.PT_TOTAL_COMMANDS, wire.PT_VENDOR_COMMANDS):
            return value + 1
        return wire.AMZN_IDENTITY.get(name, value)

    def serve(self, request):
        """HTTP requests other than the control paths."""
        return emu_http.json_answer(404, {"error": f"no such path: {request.raw_path}"})

    def control(self, request):
        """Control paths of this emulator: state and reboot."""
        if request.raw_path == "/_emu/state":
            return emu_http.json_answer(200, self.state())
        if request.raw_path == "/_emu/reboot" and request.command == "POST":
            wanted = json.loads(request.body or b"{}").get("extend")
            self.reboot(None if wanted is None else [parse_extend(text) for text in wanted])
            return emu_http.json_answer(200, self.state())
        return None


def _capability_response(more, capability, count, body):
    return wire.plain_response(struct.pack(">BII", more, capability, count) + body)


def bank_digests(digest, banks):
    """What each bank is extended with: the digest where its size fits, else its hash."""
    digests = {}
    for bank in banks:
        size = wire.HASHES[bank][1]().digest_size
        digests[bank] = digest if len(digest) == size else hashlib.new(bank, digest).digest()
    return digests


def parse_extend(text):
    """"4=<96 hex>" as (4, bytes)."""
    index, _, digest = text.partition("=")
    if not index.isdigit() or int(index) > 23 or len(digest) != 96:
        raise ValueError(f"not PCR=<96 hex digits>: {text}")
    return int(index), bytes.fromhex(digest)


class _DataHandler(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while True:
                command = swtpm_child.receive_message(self.request)
                self.request.sendall(self.server.device.execute(command))
        except (EOFError, OSError, emu_http.CutConnection):
            pass


class _ControlHandler(socketserver.BaseRequestHandler):
    """swtpm's own control channel (locality, cancel), forwarded message by message."""

    def handle(self):
        try:
            while True:
                message = self.request.recv(wire.MAX_COMMAND_BYTES)
                if not message:
                    return
                with self.server.control_lock:
                    answer = self.server.device.swtpm.control(message)
                self.request.sendall(answer)
        except OSError:
            pass


class _Listener(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address, handler, device):
        super().__init__(address, handler)
        self.device = device
        self.control_lock = threading.Lock()

    def start(self):
        threading.Thread(target=self.serve_forever, args=(0.1,), daemon=True).start()


class Service:
    """A device with its listeners. Use as a context manager in tests."""

    def __init__(self, device, host="127.0.0.1", port=0, control_port=0):
        self.device = device
        self.data, self.control = _listen_pair(device, host, port)
        self.http = emu_http.Server(device, host, control_port)
        self.host = host

    @property
    def port(self):
        return self.data.server_address[1]

    @property
    def tcti(self):
        """The value for TPM2TOOLS_TCTI and friends."""
        return f"swtpm:host={self.host},port={self.port}"

    def start(self):
        for listener in (self.data, self.control, self.http):
            listener.start()
        return self

    def stop(self):
        for listener in (self.data, self.control):
            listener.shutdown()
            listener.server_close()
        self.http.stop()
        self.device.stop()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_unused):
        self.stop()


def _listen_pair(device, host, port):
    """Listeners on P and P+1; port 0 finds a free pair."""
    for _ in range(PORT_ATTEMPTS):
        data = _Listener((host, port), _DataHandler, device)
        try:
            control = _Listener((host, data.server_address[1] + 1), _ControlHandler, device)
            return data, control
        except (OSError, OverflowError):
            data.server_close()
            if port:
                raise
    raise OSError("no two neighbouring free ports")


def make_parser():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--state", help="directory that survives (default: temporary)")
    parser.add_argument("--ca", help="directory of the test authority (default: STATE/ca)")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="data port; control is one above")
    parser.add_argument("--control-port", type=int, default=0, help="HTTP control port")
    parser.add_argument("--port-file", help="write port, root and control, for a shell to source")
    parser.add_argument("--banks", default=",".join(DEFAULT_BANKS))
    parser.add_argument("--extend", action="append", default=[], metavar="PCR=HEX",
                        help="extend at every boot by this SHA-384 digest (other banks: its hash)")
    parser.add_argument("--mailboxes", type=int, default=4, help="room for indices over 2048 bytes")
    parser.add_argument("--nv-index-max", type=int, default=8192)
    parser.add_argument("--nv-buffer-max", type=int, default=1024)
    parser.add_argument("--region", default=testca.DEFAULT_REGION)
    parser.add_argument("--instance-id", default=testca.DEFAULT_INSTANCE_ID)
    parser.add_argument("--plain", action="store_true", help="a TPM without the vendor command")
    parser.add_argument("--passthrough", action="store_true",
                        help="nothing but swtpm: no mailboxes, no sessions of our own")
    parser.add_argument("--outer", choices=("definite", "indefinite"), default="definite",
                        help="CBOR form of the maps around the document")
    parser.add_argument("--fault", action="append", default=[], type=json.loads, metavar="JSON")
    parser.add_argument("--log", help="append the request log to this file")
    parser.add_argument("--swtpm", metavar="HOST:PORT", help="use this running swtpm")
    parser.add_argument("--swtpm-path", default="swtpm")
    return parser


def main(argv=None):
    options = make_parser().parse_args(argv)
    stop = emu_http.stop_event()
    state = options.state or tempfile.mkdtemp(prefix="nitrotpm.")
    external = None
    if options.swtpm:
        host, _, port = options.swtpm.rpartition(":")
        external = (host, int(port))
    try:
        device = NitroTpm(
            state, options.ca, options.banks.split(","),
            [parse_extend(text) for text in options.extend], options.mailboxes,
            options.nv_index_max, options.nv_buffer_max, options.region, options.instance_id,
            options.plain, external, options.swtpm_path, options.fault, options.log,
            options.outer == "indefinite", options.passthrough)
        try:
            with Service(device, options.host, options.port, options.control_port) as service:
                emu_http.announce({"port": service.port, "root": device.authority.root_path,
                                   "control": service.http.port}, options.port_file)
                stop.wait()
        finally:
            device.stop()
    except (OSError, ValueError, swtpm_child.SwtpmError) as failure:
        print(f"nitrotpm: {failure}", file=sys.stderr)
        return 1
    finally:
        if not options.state:
            shutil.rmtree(state, ignore_errors=True)
        if options.port_file and os.path.exists(options.port_file):
            os.unlink(options.port_file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
