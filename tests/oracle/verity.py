"""fs-verity digests, written from the kernel's description of the file measurement.

Job: the SHA-256, 4096-byte-block, unsalted fs-verity digest of a byte stream, and the
pieces of it that the sealed format stores (one level-1 hash for each 512 KiB chunk).
Trusts nothing but hashlib. It must stay independent of the C code: it is what the C
code is compared with, and it is itself compared with the fsverity tool.
"""

import hashlib

BLOCK_BYTES = 4096
HASH_BYTES = 32
HASHES_PER_BLOCK = BLOCK_BYTES // HASH_BYTES
CHUNK_BYTES = BLOCK_BYTES * HASHES_PER_BLOCK


def _sha256(data):
    return hashlib.sha256(data).digest()


def _pad(data):
    """Zero-fill one block."""
    return data + bytes(BLOCK_BYTES - len(data))


def block_hashes(data):
    """The hash of each 4096-byte block of data, the last one zero-padded, joined."""
    return b"".join(
        _sha256(_pad(data[at : at + BLOCK_BYTES])) for at in range(0, len(data), BLOCK_BYTES)
    )


def chunk_entry(chunk, plaintext_length):
    """The hash-table entry of one chunk of a plaintext of the given total length."""
    if not 0 < len(chunk) <= CHUNK_BYTES:
        raise ValueError("a chunk is 1 to %d bytes" % CHUNK_BYTES)
    if plaintext_length <= BLOCK_BYTES:
        return _sha256(_pad(chunk))
    return _sha256(_pad(block_hashes(chunk)))


def root_of_entries(entries, plaintext_length):
    """The Merkle root, from the joined hash-table entries."""
    if plaintext_length == 0:
        return bytes(HASH_BYTES)
    level = entries
    while len(level) > HASH_BYTES:
        level = b"".join(
            _sha256(_pad(level[at : at + BLOCK_BYTES])) for at in range(0, len(level), BLOCK_BYTES)
        )
    return level


def digest_of_root(root, plaintext_length):
    """SHA-256 of the 256-byte fs-verity descriptor."""
    descriptor = bytearray(256)
    descriptor[0] = 1  # descriptor version
    descriptor[1] = 1  # FS_VERITY_HASH_ALG_SHA256
    descriptor[2] = 12  # log2 of the block size
    descriptor[3] = 0  # salt size
    descriptor[8:16] = plaintext_length.to_bytes(8, "little")
    descriptor[16 : 16 + HASH_BYTES] = root
    return _sha256(bytes(descriptor))


def digest_of_entries(entries, plaintext_length):
    """The fs-verity digest, from the joined hash-table entries."""
    return digest_of_root(root_of_entries(entries, plaintext_length), plaintext_length)


def entries_of_bytes(data):
    """The joined hash-table entries of a plaintext held in memory."""
    return b"".join(
        chunk_entry(data[at : at + CHUNK_BYTES], len(data))
        for at in range(0, len(data), CHUNK_BYTES)
    )


def digest_of_bytes(data):
    """The fs-verity digest of a plaintext held in memory."""
    return digest_of_entries(entries_of_bytes(data), len(data))


def digest_of_file(path):
    """The fs-verity digest of a file, read one chunk at a time."""
    with open(path, "rb") as stream:
        length = stream.seek(0, 2)
        stream.seek(0)
        entries = []
        left = length
        while left:
            chunk = stream.read(min(left, CHUNK_BYTES))
            if not chunk:
                raise OSError("%s became shorter while it was read" % path)
            entries.append(chunk_entry(chunk, length))
            left -= len(chunk)
    return digest_of_entries(b"".join(entries), length)
