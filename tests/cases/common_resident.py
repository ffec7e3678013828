"""Cases over models that a mount keeps in memory. For the case files beside it."""

import functools
import json
import os
import unittest

import common
import common_folder
from common import CHUNK, MIB

WANTED = 36 * MIB  # more than is to be read before a model is wanted


def has_passthrough():
    """The kernel's configuration cannot be asked everywhere; its version can."""
    major, minor = os.uname().release.split(".")[:2]
    return (int(major), int(minor.split("-")[0])) >= (6, 9)


def report(mount):
    with open(mount.join(".sealedfs", "status.json"), encoding="utf-8") as text:
        return json.load(text)


def model(mount, name="m.gguf"):
    return next(model for model in report(mount)["models"] if model["name"] == name)


def state(mount, name="m.gguf"):
    return model(mount, name).get("residency", {"state": "none"})["state"]


def attached(mount, name="m.gguf"):
    return model(mount, name)["residency"]["attached_files"]


def wait_resident(mount, name="m.gguf"):
    common.wait_for("resident", lambda: state(mount, name) == "resident", mount.process)


def make_resident(mount, name="m.gguf"):
    """As a reader does it."""
    with common.opened(mount.join(name)) as descriptor:
        read_range(descriptor, 0, WANTED)
        wait_resident(mount, name)


def read_range(descriptor, start, end):
    for at in range(start, end, MIB):
        os.pread(descriptor, min(MIB, end - at), at)


def damage(source, offset, name="m.gguf"):
    """Changes one byte of a payload."""
    path = next(os.path.join(source, entry) for entry in os.listdir(source)
                if entry.startswith(name) and entry.endswith(".sealed"))
    with open(path, "r+b") as payload:
        payload.seek(offset)
        byte = payload.read(1)[0]
        payload.seek(offset)
        payload.write(bytes([byte ^ 1]))
    return offset // CHUNK


@unittest.skipUnless(has_passthrough(), "Linux 6.9 brought FUSE passthrough")
class ResidentCase(common_folder.FolderCase):
    def plain(self, name="m.gguf"):
        return self.lab.path("plain", name)

    @functools.cached_property
    def good(self):
        """All bytes of m.gguf."""
        return common.read_bytes(self.plain())

    def same(self, mount, name="m.gguf"):
        self.assertEqual(common.digest(mount.join(name)), common.digest(self.plain(name)), name)

    def same_at(self, descriptor, at, size=MIB, name="m.gguf"):
        with common.opened(self.plain(name)) as plain:
            self.assertEqual(os.pread(descriptor, size, at), os.pread(plain, size, at))

    def resident_mount(self, *more, resident="auto", source=None):
        return self.mount("resident=" + resident, *more, source=source)
