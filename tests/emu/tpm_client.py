#!/usr/bin/python3
"""A raw client of an emulated NitroTPM: the request of the vendor command step by step, no TSS.

For tests: it sends exactly the bytes of the password variant (31-byte vendor command and so on),
and can leave an index behind as a crashed program would. As a program it prints a document, PCRs in
the form that `kms.py --key` takes, or defines, lists and removes indices; the port is the data port
of nitrotpm.py.
"""
import argparse
import io
import socket
import struct
import sys

import cbor2

import cose
import swtpm_child
import tpm_wire as wire

MAILBOX_BYTES = 8192
CHUNK_BYTES = 1024
AUTHREAD_AUTHWRITE = 0x00040004
DEFAULT_INDEX = 0x01800000


class TpmError(Exception):
    """A response code other than success."""

    def __init__(self, rc):
        super().__init__(f"rc 0x{rc:x}")
        self.rc = rc


class TpmClient:
    def __init__(self, port, host="127.0.0.1", timeout_s=60):
        self.connection = socket.create_connection((host, port), timeout_s)

    def close(self):
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_unused):
        self.close()

    def exchange(self, command):
        self.connection.sendall(command)
        return swtpm_child.receive_message(self.connection)

    def run(self, command):
        response = self.exchange(command)
        rc = wire.response_code(response)
        if rc:
            raise TpmError(rc)
        return response

    def define(self, index, size=MAILBOX_BYTES, attributes=AUTHREAD_AUTHWRITE, auth=b"",
               name_alg=0x000B):
        public = wire.NvPublic(index, name_alg, attributes, b"", size)
        return self.run(wire.build_command(wire.CC_NV_DEFINE_SPACE, [wire.RH_OWNER],
                                           wire.PASSWORD_EMPTY,
                                           wire.sized(auth) + wire.sized(public.encode())))

    def undefine(self, index):
        return self.run(wire.build_command(wire.CC_NV_UNDEFINE_SPACE, [wire.RH_OWNER, index],
                                           wire.PASSWORD_EMPTY))

    def write(self, index, data, offset=0, auth=b""):
        for start in range(0, len(data), CHUNK_BYTES):
            piece = data[start:start + CHUNK_BYTES]
            self.run(wire.build_command(wire.CC_NV_WRITE, [index, index], password(auth),
                                        wire.sized(piece) + struct.pack(">H", offset + start)))

    def read(self, index, length, offset=0, auth=b""):
        response = self.run(wire.build_command(wire.CC_NV_READ, [index, index], password(auth),
                                               struct.pack(">HH", length, offset)))
        reader = wire.Reader(response[wire.HEADER.size:])
        reader.number(4)
        return reader.sized()

    def read_all(self, index, size=MAILBOX_BYTES, auth=b""):
        return b"".join(self.read(index, min(CHUNK_BYTES, size - offset), offset, auth)
                        for offset in range(0, size, CHUNK_BYTES))

    def read_public(self, index):
        """(NvPublic, name)"""
        response = self.run(wire.build_command(wire.CC_NV_READ_PUBLIC, [index], None))
        reader = wire.Reader(response[wire.HEADER.size:])
        return wire.NvPublic.parse(reader.sized()), reader.sized()

    def vendor(self, index, auth=b""):
        return self.run(wire.build_command(wire.CC_VENDOR_NSM, [index, index], password(auth)))

    def capability(self, capability, first, count):
        """(more data, list of raw numbers)"""
        response = self.run(wire.get_capability_command(capability, first, count))
        reader = wire.Reader(response[wire.HEADER.size:])
        more = reader.number(1)
        reader.number(4)
        width = 8 if capability == wire.CAP_TPM_PROPERTIES else 4
        return more, [reader.number(width) for _ in range(reader.number(4))]

    def extend(self, index, digests):
        return self.run(wire.pcr_extend_command(index, digests))

    def pcrs(self, indices, bank="sha384"):
        """{index: hex}"""
        values = {}
        for index in indices:
            response = self.run(wire.pcr_read_command(bank, [index]))
            values[index] = wire.parse_pcr_read(response)[1][0].hex()
        return values

    def request(self, nonce=None, public_key=None, user_data=None, index=DEFAULT_INDEX):
        """The decoded answer: {"Attestation": {"document": ...}} or {"Error": ...}."""
        self.define(index)
        try:
            self.write(index, encode_request(nonce, public_key, user_data))
            self.vendor(index)
            return decode_answer(self.read_all(index))
        finally:
            self.undefine(index)

    def attest(self, **fields):
        """The raw document."""
        answer = self.request(**fields)
        if "Error" in answer:
            raise ValueError(answer["Error"])
        return answer["Attestation"]["document"]


def password(auth):
    """Authorization area of a password session."""
    return struct.pack(">I", wire.RS_PW) + b"\x00\x00\x00" + wire.sized(auth)


def encode_request(nonce=None, public_key=None, user_data=None):
    fields = {"user_data": user_data, "nonce": nonce, "public_key": public_key}
    return cbor2.dumps({"Attestation": fields})


def decode_answer(contents):
    """The first CBOR item of a mailbox; what follows is padding."""
    return cbor2.CBORDecoder(io.BytesIO(contents)).decode()


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("verb", 
                        choices=("attest", "define", "undefine", "list", "request", "pcrs"))
    parser.add_argument("--index", type=lambda text: int(text, 0), default=DEFAULT_INDEX)
    parser.add_argument("--size", type=int, default=MAILBOX_BYTES)
    parser.add_argument("--nonce", type=bytes.fromhex)
    parser.add_argument("--public-key", type=argparse.FileType("rb"))
    parser.add_argument("-o", "--output", default="-")
    parser.add_argument("--pcr", default="4,7,12", help="for pcrs: which, e.g. 4,7,12")
    options = parser.parse_args(argv)
    with TpmClient(options.port) as client:
        if options.verb == "attest":
            key = options.public_key.read() if options.public_key else None
            document = client.attest(nonce=options.nonce, public_key=key)
            cose.parse_document(document)
            if options.output == "-":
                sys.stdout.buffer.write(document)
            else:
                with open(options.output, "wb") as out:
                    out.write(document)
        elif options.verb == "define":
            client.define(options.index, options.size)
        elif options.verb == "undefine":
            client.undefine(options.index)
        elif options.verb == "request":
            print(client.request(nonce=options.nonce))
        elif options.verb == "pcrs":
            wanted = [int(item) for item in options.pcr.split(",")]
            print(",".join(f"{index}={value}" for index, value in client.pcrs(wanted).items()))
        else:
            for index in client.capability(wire.CAP_HANDLES, wire.NV_INDEX_FIRST, 256)[1]:
                print(f"0x{index:08x} {client.read_public(index)[0].size}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
