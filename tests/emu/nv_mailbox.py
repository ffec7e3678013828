"""NV indices larger than swtpm allows, as NitroTPM has them.

libtpms caps an NV index at 2048 bytes and NitroTPM's mailbox has 8192. For such an index swtpm
keeps a small placeholder with the same handle, attributes and authorization value, so that handle
lists, attributes, passwords, lockout and survival over Startup are the work of a real TPM; size
and contents are kept here. Password (and policy) sessions work; HMAC sessions end in
tpm_sessions.py, which knows the size and so the name, and come here with a password.
"""
import base64
import json
import os
import struct

import tpm_wire as wire

NATIVE_INDEX_MAX = 2048
PLACEHOLDER_BYTES = 8
PADDING = b"\xff"


class NvMailboxes:
    """swtpm: object with exchange(). state_file survives the process. Not thread safe."""

    def __init__(self, swtpm, state_file, room=4, index_max=8192, buffer_max=1024):
        self.swtpm = swtpm
        self.state_file = state_file
        self.room = room
        self.index_max = index_max
        self.buffer_max = buffer_max
        self.contents = {}
        self.auth_values = {}
        self._load()

    def _load(self):
        if self.state_file and os.path.exists(self.state_file):
            with open(self.state_file, encoding="ascii") as stored:
                for index, (data, auth) in json.load(stored).items():
                    self.contents[int(index, 16)] = bytearray(base64.b64decode(data))
                    self.auth_values[int(index, 16)] = bytes.fromhex(auth)

    def save(self):
        if not self.state_file:
            return
        stored = {f"0x{index:08x}": (base64.b64encode(data).decode(), self.auth_value(index).hex())
                  for index, data in self.contents.items()}
        temporary = f"{self.state_file}.new"
        with open(temporary, "w", encoding="ascii") as out:
            json.dump(stored, out)
        os.replace(temporary, self.state_file)

    def auth_value(self, handle):
        """What authorises the use of a handle: without trailing zeros, as a TPM keeps it."""
        return self.auth_values.get(handle, b"")

    def native_indices(self):
        """Every NV index that swtpm lists."""
        response = self.swtpm.exchange(
            wire.get_capability_command(wire.CAP_HANDLES, wire.NV_INDEX_FIRST, 256))
        reader = wire.Reader(response[wire.HEADER.size:])
        reader.take(5)
        return [reader.number(4) for _ in range(reader.number(4))]

    def reconcile(self):
        """Forget contents whose placeholder is gone (TPM2_Clear, another state directory)."""
        native = set(self.native_indices())
        gone = [index for index in self.contents if index not in native]
        for index in gone:
            del self.contents[index]
            self.auth_values.pop(index, None)
        if gone:
            self.save()

    def handle(self, command):
        """The answer to a command, or None when swtpm alone should give it."""
        code = wire.parse_header(command)[2]
        handlers = {
            wire.CC_NV_DEFINE_SPACE: self._define, wire.CC_NV_UNDEFINE_SPACE: self._undefine,
            wire.CC_NV_WRITE: self._write, wire.CC_NV_READ: self._read,
            wire.CC_NV_READ_PUBLIC: self._read_public,
        }
        if code in (wire.CC_CLEAR, wire.CC_NV_UNDEFINE_SPACE_SPECIAL):
            response = self.swtpm.exchange(command)
            self.reconcile()
            return response
        if code not in handlers:
            return None
        try:
            return handlers[code](command)
        except wire.WireError:
            # swtpm finds the fault in a malformed command itself.
            return None

    def _define(self, data):
        command = wire.parse_command(data, 1)
        reader = wire.Reader(command.parameters)
        auth_value = reader.sized()
        public = wire.NvPublic.parse(reader.sized())
        ordinary = public.attributes & wire.NV_TYPE_MASK == 0
        if (public.size <= NATIVE_INDEX_MAX or not ordinary
                or not wire.NV_INDEX_FIRST <= public.index <= wire.NV_INDEX_LAST):
            return None
        if public.size > self.index_max:
            return wire.error_response(wire.RC_NV_SIZE)
        if public.index not in self.contents and len(self.contents) >= self.room:
            return wire.error_response(wire.RC_NV_SPACE)
        size = public.size
        public.size = PLACEHOLDER_BYTES
        response = self.swtpm.exchange(command.rebuilt(
            parameters=wire.sized(auth_value) + wire.sized(public.encode())))
        if wire.response_code(response) == wire.RC_SUCCESS:
            self.contents[public.index] = bytearray(PADDING * size)
            self.auth_values[public.index] = auth_value.rstrip(b"\0")
            self.save()
        return response

    def _undefine(self, data):
        command = wire.parse_command(data, 2)
        response = self.swtpm.exchange(data)
        if (wire.response_code(response) == wire.RC_SUCCESS
                and self.contents.pop(command.handles[1], None) is not None):
            self.auth_values.pop(command.handles[1], None)
            self.save()
        return response

    def _write(self, data):
        command = wire.parse_command(data, 2)
        contents = self.contents.get(command.handles[1])
        if contents is None:
            return None
        reader = wire.Reader(command.parameters)
        length = reader.number(2)
        if length > self.buffer_max:
            return self._refused_write(command, wire.RC_WRITE_TOO_LONG)
        piece = reader.take(length)
        offset = reader.number(2)
        if offset + length > len(contents):
            return self._refused_write(command, wire.RC_NV_RANGE)
        response = self.swtpm.exchange(
            command.rebuilt(parameters=wire.sized(b"\x00") + b"\x00\x00"))
        if wire.response_code(response) == wire.RC_SUCCESS:
            contents[offset:offset + length] = piece
            self.save()
        return response

    def _refused_write(self, command, rc):
        """A wrong password comes before a wrong range, so ask swtpm with a range it must refuse."""
        parameters = wire.sized(b"\x00") + struct.pack(">H", PLACEHOLDER_BYTES)
        response = self.swtpm.exchange(command.rebuilt(parameters=parameters))
        if wire.response_code(response) in (wire.RC_SUCCESS, wire.RC_NV_RANGE):
            return wire.error_response(rc)
        return response

    def _read(self, data):
        command = wire.parse_command(data, 2)
        contents = self.contents.get(command.handles[1])
        if contents is None:
            return None
        reader = wire.Reader(command.parameters)
        length, offset = reader.number(2), reader.number(2)
        probe = self.probe_read(command)
        if wire.response_code(probe):
            return probe
        if length > self.buffer_max:
            return wire.error_response(wire.RC_READ_TOO_LONG)
        if offset + length > len(contents):
            return wire.error_response(wire.RC_NV_RANGE)
        return wire.session_response(wire.sized(contents[offset:offset + length]),
                                     wire.response_auth(probe))

    def probe_read(self, command):
        """Read one byte of the placeholder with the client's authorization: is it allowed?"""
        return self.swtpm.exchange(command.rebuilt(code=wire.CC_NV_READ,
                                                   parameters=struct.pack(">HH", 1, 0)))

    def _read_public(self, data):
        command = wire.parse_command(data, 1)
        contents = self.contents.get(command.handles[0])
        response = self.swtpm.exchange(data)
        if (contents is None or command.tag != wire.TAG_NO_SESSIONS
                or wire.response_code(response) != wire.RC_SUCCESS):
            return response
        public = wire.NvPublic.parse(wire.Reader(response[wire.HEADER.size:]).sized())
        public.size = len(contents)
        return wire.plain_response(wire.sized(public.encode()) + wire.sized(public.name()))
