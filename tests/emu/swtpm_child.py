"""A swtpm process as a child of the emulator, or a connection to one that already runs.

The child gets its data channel as an inherited socket and ends with it, so that it cannot outlive
the emulator however that ends. One command at a time; exchange() is called under the lock of its
caller.
"""
import os
import pathlib
import socket
import struct
import subprocess

import tpm_wire as wire

CONTROL_TIMEOUT_S = 60
STARTUP_TIMEOUT_S = 120
RETRY_LIMIT = 50
CONTROL_STOP = 0x0E
CONTROL_SHUTDOWN = 0x03


class SwtpmError(Exception):
    """swtpm did not do what it was asked to."""


def receive_exactly(connection, length):
    data = b""
    while len(data) < length:
        piece = connection.recv(length - len(data))
        if not piece:
            raise EOFError("connection closed")
        data += piece
    return data


def receive_message(connection):
    """One command or response by the size in its header."""
    header = receive_exactly(connection, wire.HEADER.size)
    size = wire.parse_header(header)[1]
    if not wire.HEADER.size <= size <= wire.MAX_COMMAND_BYTES:
        raise EOFError(f"message of {size} bytes")
    return header + receive_exactly(connection, size - wire.HEADER.size)


class Swtpm:
    """start() or connect() first; then exchange() commands and control() messages."""

    def __init__(self):
        self.data = None
        self.control_socket = None
        self.process = None

    def start(self, state_dir, executable="swtpm"):
        """Spawn a child on state_dir (made when missing) and send TPM2_Startup(CLEAR)."""
        state = pathlib.Path(state_dir).resolve()
        state.mkdir(parents=True, exist_ok=True)
        data_ours, data_theirs = socket.socketpair()
        control_ours, control_theirs = socket.socketpair()
        fds = (data_theirs.fileno(), control_theirs.fileno())
        arguments = [executable, "socket", "--tpm2", "--tpmstate", f"dir={state}",
                     "--fd", str(fds[0]), "--ctrl", f"type=unixio,clientfd={fds[1]}",
                     "--flags", "not-need-init,startup-clear", "--terminate",
                     "--log", f"file={state}/swtpm.log,level=1,truncate"]
        # A group of its own keeps Ctrl-C at a terminal from ending it before its state is settled.
        self.process = subprocess.Popen(arguments, pass_fds=fds, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, start_new_session=True,
                                        env=dict(os.environ, LC_ALL="C"))
        data_theirs.close()
        control_theirs.close()
        self.data, self.control_socket = data_ours, control_ours
        self.data.settimeout(STARTUP_TIMEOUT_S)
        self.control_socket.settimeout(CONTROL_TIMEOUT_S)
        try:
            response = self.exchange(wire.get_capability_command(wire.CAP_TPM_PROPERTIES, 0x100, 1))
        except (OSError, EOFError) as failure:
            self.stop()
            raise SwtpmError(f"swtpm on {state} does not answer: {failure}") from failure
        self.data.settimeout(None)
        if wire.response_code(response):
            self.stop()
            raise SwtpmError(f"swtpm on {state}: rc 0x{wire.response_code(response):x}")

    def connect(self, host, port):
        """Use a running `swtpm socket` with TCP data port and control port one above."""
        self.data = socket.create_connection((host, port))
        self.control_socket = socket.create_connection((host, port + 1), CONTROL_TIMEOUT_S)

    def exchange(self, command):
        """One command. libtpms answers the first use of an algorithm with TPM_RC_RETRY while it
        tests itself; repeated here, so that only a fault makes a client see it."""
        for _ in range(RETRY_LIMIT):
            self.data.sendall(command)
            response = receive_message(self.data)
            if wire.response_code(response) != wire.RC_RETRY:
                break
        return response

    def run(self, command):
        """exchange() that raises on any response code but success."""
        response = self.exchange(command)
        if wire.response_code(response):
            code = wire.parse_header(command)[2]
            raise SwtpmError(f"command 0x{code:x}: rc 0x{wire.response_code(response):x}")
        return response

    def control(self, message):
        """Forward one message of swtpm's control channel and return the answer."""
        self.control_socket.sendall(message)
        return self.control_socket.recv(wire.MAX_COMMAND_BYTES)

    def stop(self):
        """Orderly end: TPM2_Shutdown, then the child goes with its connection."""
        if self.data is None:
            return
        try:
            self.data.settimeout(CONTROL_TIMEOUT_S)
            self.exchange(wire.build_command(wire.CC_SHUTDOWN, [], None, struct.pack(">H", 0)))
        except (OSError, EOFError):
            pass
        self.data.close()
        self.control_socket.close()
        self.data = None
        if self.process is None:
            return
        try:
            self.process.wait(CONTROL_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    @property
    def pid(self):
        return self.process.pid if self.process else None
