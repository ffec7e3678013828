"""The parent instance of an enclave, for cases: programs at Unix sockets that stand in for those at vsock ports, or at
vsock ports where the kernel has a loopback. An address is all that differs between the two."""

import os
import socket
import threading


LOOPBACK_CID = 1


class Parent:
    """forward(): what AWS's vsock-proxy does. proxy(): an HTTP proxy that knows CONNECT. Both note what passed."""

    def __init__(self, lab, vsock=False):
        self.lab, self.number, self.vsock = lab, 0, vsock
        self.servers = {}  # "host:port" that a client may ask for: (host, port) where it is
        self.seen, self.first = [], []  # servers asked for; the first bytes of each connection to a server
        self.answer = None  # a proxy's refusal
        self.lock = threading.Lock()

    def _listen(self, serve):
        if self.vsock:
            listener = socket.socket(socket.AF_VSOCK)
            listener.bind((socket.VMADDR_CID_ANY, socket.VMADDR_PORT_ANY))
            place = f"vsock:{LOOPBACK_CID}:{listener.getsockname()[1]}"
        else:
            self.number += 1
            path = self.lab.path(f"parent-{self.number}.socket")
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(path)
            place = "unix:" + path
        listener.listen(64)
        threading.Thread(target=self._accept, args=(listener, serve), daemon=True).start()
        return place

    @staticmethod
    def _accept(listener, serve):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    def forward(self, name):
        """The place of a socket that leads to this server, as net= has it."""
        return self._listen(lambda client: self._join(client, name))

    def proxy(self):
        """The place of a socket with a proxy to all servers."""
        return self._listen(self._serve_proxy)

    def _serve_proxy(self, client):
        request = b""
        while b"\r\n\r\n" not in request:
            piece = client.recv(1)
            if not piece:
                client.close()
                return
            request += piece
        verb, name, version = request.split(b"\r\n")[0].decode().split(" ")
        good = verb == "CONNECT" and version == "HTTP/1.1" and f"Host: {name}".encode() in request.split(b"\r\n")
        if self.answer or not good or name not in self.servers:
            client.sendall(self.answer or b"HTTP/1.1 403 Forbidden\r\n\r\n")
            client.close()
            return
        client.sendall(b"HTTP/1.1 200 Connection established\r\nX-Any: thing\r\n\r\n")
        self._join(client, name)

    def _join(self, client, name):
        with self.lock:
            self.seen.append(name)
        try:
            server = socket.create_connection(self.servers[name])
        except OSError:
            client.close()
            return
        back = threading.Thread(target=self._copy, args=(server, client, False), daemon=True)
        back.start()
        self._copy(client, server, True)
        back.join()
        client.close()
        server.close()

    def _copy(self, source, target, note):
        try:
            while piece := source.recv(65536):
                if note:
                    with self.lock:
                        self.first.append(piece[:1])
                    note = False
                target.sendall(piece)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def clear(self):
        self.seen, self.first, self.answer = [], [], None


def without_network(argv):
    """A command in a network namespace of its own, where not even the loopback device is up."""
    return ["unshare", "--net", "--", *argv]


def has_vsock_loopback():
    """The module vsock_loopback is loaded."""
    try:
        with socket.socket(socket.AF_VSOCK) as listener:
            listener.bind((LOOPBACK_CID, socket.VMADDR_PORT_ANY))
    except OSError:
        return False
    return True


def can_unshare():
    """None, or why a network namespace cannot be made here."""
    return None if os.system("unshare --net true 2>/dev/null") == 0 else "no network namespace can be made here"
