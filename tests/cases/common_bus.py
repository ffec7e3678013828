"""Somebody between the programs and the TPM: a proxy for tpm2-tss's swtpm TCTI.

It sees every command and every answer, and hands on what answer() makes of them.
"""

import os
import pty
import select
import socket
import sys
import termios
import threading
import tty

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "emu"))
import swtpm_child  # noqa: E402
import tpm_wire as wire  # noqa: E402

PORT_ATTEMPTS = 200
RS_PW = wire.RS_PW.to_bytes(4, "big")


def code_of(command):
    return wire.parse_header(command)[2]


class Bus:
    """A pair of ports in front of an emulated TPM. answer(number, command, ask) -> response or None
    (cut the connection); ask(command) asks the TPM. seen: [(command, response)] as they went."""

    def __init__(self, tpm):
        self.target = tpm.port
        self.answer = self.pass_on
        self.seen = []
        self.tpm = tpm
        for _ in range(PORT_ATTEMPTS):
            data = socket.create_server(("127.0.0.1", 0))
            try:
                control = socket.create_server(("127.0.0.1", data.getsockname()[1] + 1))
                break
            except OSError:
                data.close()
        self.listeners = (data, control)
        self.port = data.getsockname()[1]
        self.tcti = f"swtpm:host=127.0.0.1,port={self.port}"
        for listener, serve in ((data, self._data), (control, self._control)):
            threading.Thread(target=self._accept, args=(listener, serve), daemon=True).start()

    def close(self):
        for listener in self.listeners:
            listener.close()

    @staticmethod
    def pass_on(_number, command, ask):
        return ask(command)

    def forget(self):
        self.seen = []
        self.answer = self.pass_on

    def traffic(self):
        return b"".join(command + response for command, response in self.seen)

    def commands(self, code=None):
        return [command for command, _ in self.seen if code in (None, code_of(command))]

    def _accept(self, listener, serve):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    def _data(self, client):
        with client, socket.create_connection(("127.0.0.1", self.target)) as tpm:
            def ask(command):
                tpm.sendall(command)
                return swtpm_child.receive_message(tpm)

            try:
                while True:
                    command = swtpm_child.receive_message(client)
                    response = self.answer(len(self.seen), command, ask)
                    if response is None:
                        return
                    self.seen.append((command, response))
                    client.sendall(response)
                    if wire.parse_header(response)[1] != len(response):
                        return  # nobody waits for bytes that do not come
            except (EOFError, OSError):
                pass

    def _control(self, client):
        with client, socket.create_connection(("127.0.0.1", self.target + 1)) as tpm:
            try:
                while message := client.recv(4096):
                    tpm.sendall(message)
                    client.sendall(tpm.recv(4096))
            except OSError:
                pass


class Device:
    """A terminal that carries TPM messages, so that a device TCTI can be tried."""

    def __init__(self, tpm):
        self.port = tpm.port
        self.master, self.slave = pty.openpty()
        for end in (self.master, self.slave):
            tty.setraw(end, termios.TCSANOW)
        self.path = os.ttyname(self.slave)
        self.tcti = "device:" + self.path
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        with socket.create_connection(("127.0.0.1", self.port)) as tpm:
            pending = b""
            while not self.stop.is_set():
                if not select.select([self.master], [], [], 0.05)[0]:
                    continue
                pending += os.read(self.master, 4096)
                if len(pending) >= 10 and len(pending) >= wire.parse_header(pending)[1]:
                    tpm.sendall(pending)
                    pending = b""
                    os.write(self.master, swtpm_child.receive_message(tpm))

    def close(self):
        self.stop.set()
        self.thread.join()
        os.close(self.master)
        os.close(self.slave)
