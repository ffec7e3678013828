#!/usr/bin/python3
"""Where a model lies is sealed: models and parts of models that were exchanged are refused.

Two models of one name in two directories, one shard of a split model, a tree that was moved up or
down; with and without a pinned owner; by the mount, by check, by hash --pcr, and in what inspect and
seal do with a seal that lies in a wrong place. Also a server that exchanges a seal after it was
listed."""

import json
import os
import shutil

import common
from common import NOT_AUTHENTIC, OK

WORDS = "stored under another name"
MODELS = ("70b/model.gguf", "7b/model.gguf", "split/m-00001-of-00002.gguf",
          "split/m-00002-of-00002.gguf", "top.gguf")
SIZE = 700_000


def objects_of(root, name):
    """Seal and payload of a model, relative to root."""
    folder, base = os.path.split(name)
    return [os.path.join(folder, entry) for entry in sorted(os.listdir(os.path.join(root, folder)))
            if entry.startswith(base + ".") and entry.endswith((".seal", ".sealed"))]


def exchange(root, one, two):
    """Each model's objects under the other's name, payload included."""
    moves = []
    for source, target in ((one, two), (two, one)):
        for entry in objects_of(root, source):
            moved = target + entry[len(source):]
            os.rename(os.path.join(root, entry), os.path.join(root, moved + ".new"))
            moves.append(os.path.join(root, moved))
    for moved in moves:
        os.rename(moved + ".new", moved)


class Paths(common.Case):
    """A tree of models, all of one owner and for one key."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        lab = cls.lab
        cls.key = lab.key_file()
        cls.private, cls.public = lab.owner_key()
        cls.plain = lab.path("plain", make=True)
        for seed, name in enumerate(MODELS):
            path = os.path.join(cls.plain, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            common.make_model(path, SIZE, seed)
        cls.sealed = lab.path("sealed")
        lab.seal(cls.plain, cls.sealed, "--key-file", cls.key, "--sign", cls.private)

    def copy(self):
        return common.copy_tree(self.sealed, self.lab.path(self.id().rpartition(".")[2]))

    def mount(self, folder, pinned, *more):
        owner = ("owner-key=" + self.public,) if pinned else ()
        return self.lab.mount(folder, "key-file=" + self.key, "attest=none", "measure=none", *owner,
                              *more)

    def check(self, target, *more, expect):
        done = self.lab.sealctl("check", target, "--key-file", self.key, "--json", *more,
                                expect=expect)
        return {report["object"]: [step["class"] for step in report["steps"]
                                   if step["result"] == "failed"]
                for report in json.loads(done.out)["objects"]}

    def assert_refused(self, folder, *names):
        """These and no others, by everything that finds seals under names."""
        for pinned in (False, True):
            with self.subTest(pinned=pinned):
                with self.mount(folder, pinned) as mount:
                    for name in MODELS:
                        path = mount.join(name)
                        if name in names:
                            self.assert_io_error(path)
                            self.assertIn(WORDS, mount.log())
                        else:
                            self.assertEqual(common.digest(path),
                                             common.digest(os.path.join(self.plain, name)))
                for name in names:
                    result = self.lab.mount_fails(
                        folder, "key-file=" + self.key, "attest=none", "measure=none",
                        "ready=unlocked", "model=" + name,
                        *(["owner-key=" + self.public] if pinned else []))
                    self.assert_result(result, NOT_AUTHENTIC, WORDS)
                owner = ["--owner-key", self.public] if pinned else []
                found = self.check(folder, *owner, expect=NOT_AUTHENTIC)
                for name in MODELS:
                    wanted = ["wrong-name"] if name in names else []
                    self.assertEqual(found[os.path.join(folder, name + ".seal")], wanted, name)
        for name in names:
            seal = os.path.join(folder, name + ".seal")
            self.assertEqual(self.check(seal, expect=NOT_AUTHENTIC), {seal: ["wrong-name"]})
            for target in (folder, seal):
                self.assert_result(self.lab.sealctl("hash", "--pcr", target), NOT_AUTHENTIC, WORDS)

    def test_models_exchanged(self):
        folder = self.copy()
        exchange(folder, "70b/model.gguf", "7b/model.gguf")
        self.assert_refused(folder, "70b/model.gguf", "7b/model.gguf")

    def test_one_model_twice(self):
        """The small one also in the place of the big one, which is gone."""
        folder = self.copy()
        shutil.rmtree(os.path.join(folder, "70b"))
        common.copy_tree(os.path.join(folder, "7b"), os.path.join(folder, "70b"))
        self.assert_refused(folder, "70b/model.gguf")

    def test_shards_exchanged(self):
        folder = self.copy()
        exchange(folder, "split/m-00001-of-00002.gguf", "split/m-00002-of-00002.gguf")
        self.assert_refused(folder, "split/m-00001-of-00002.gguf", "split/m-00002-of-00002.gguf")

    def test_one_shard_of_another_model(self):
        """A part of another sealing of the same owner, with the same name, from another folder."""
        other = self.lab.path("other", make=True)
        shard = os.path.join(other, "split2", "m-00002-of-00002.gguf")
        os.makedirs(os.path.dirname(shard))
        common.make_model(shard, SIZE, 99)
        sealed = self.lab.path("other-sealed")
        self.lab.seal(other, sealed, "--key-file", self.key, "--sign", self.private)
        folder = self.copy()
        for entry in objects_of(folder, "split/m-00002-of-00002.gguf"):
            os.unlink(os.path.join(folder, entry))
        for entry in objects_of(sealed, "split2/m-00002-of-00002.gguf"):
            shutil.copy2(os.path.join(sealed, entry),
                         os.path.join(folder, "split", os.path.basename(entry)))
        self.assert_refused(folder, "split/m-00002-of-00002.gguf")

    def test_moved_within_the_tree(self):
        """Down into a folder of another name: as many components as sealed, and not the same."""
        folder = self.copy()
        os.rename(os.path.join(folder, "70b"), os.path.join(folder, "13b"))
        for pinned in (False, True):
            with self.mount(folder, pinned) as mount:
                self.assert_io_error(mount.join("13b/model.gguf"))
        self.assertEqual(self.check(folder, expect=NOT_AUTHENTIC)[
            os.path.join(folder, "13b/model.gguf.seal")], ["wrong-name"])

    def test_found_below_and_above(self):
        """What the rule allows: a mount of a part of the tree, and the tree below a prefix."""
        above = self.lab.path("above")
        common.copy_tree(self.sealed, os.path.join(above, "p", "q"))
        for source, name, found in ((os.path.join(self.sealed, "70b"), "70b/model.gguf",
                                     "model.gguf"),
                                    (above, "70b/model.gguf", "p/q/70b/model.gguf"),
                                    (above, "top.gguf", "p/q/top.gguf")):
            with self.subTest(found):
                with self.mount(source, True) as mount:
                    self.assertEqual(common.digest(mount.join(found)),
                                     common.digest(os.path.join(self.plain, name)))
                self.check(source, "--owner-key", self.public, expect=OK)
                self.check(os.path.join(source, found + ".seal"), expect=OK)

    def test_single_objects_by_relative_names(self):
        """However the user names a seal, as much as is named is compared."""
        inside = os.path.join(self.sealed, "70b")
        for cwd, name in ((self.sealed, "70b/model.gguf.seal"), (inside, "model.gguf.seal"),
                          (inside, "./model.gguf.seal"), (inside, "../70b/model.gguf.seal"),
                          (inside, "../7b/../70b//model.gguf.seal"),
                          (os.path.join(self.sealed, "7b"), "../70b/./model.gguf.seal")):
            with self.subTest(name):
                self.lab.sealctl("check", name, "--key-file", self.key, cwd=cwd, expect=OK)
                found = self.lab.sealctl("inspect", name, "--json", cwd=cwd, expect=OK)
                self.assertTrue(json.loads(found.out)["objects"][0]["path_fits"])

    def test_inspect_tells(self):
        folder = self.copy()
        exchange(folder, "70b/model.gguf", "7b/model.gguf")
        seal = os.path.join(folder, "7b/model.gguf.seal")
        found = json.loads(self.lab.sealctl("inspect", seal, "--json", expect=OK).out)["objects"][0]
        self.assertEqual((found["path"], found["path_fits"]), ("70b/model.gguf", False))
        self.assertIn("refuses it here", self.lab.sealctl("inspect", seal, expect=OK).out)

    def test_seal_leaves_what_it_cannot_know(self):
        """--remove-old takes a payload away only on the word of the model's own seal."""
        folder = self.copy()
        exchange(folder, "70b/model.gguf", "7b/model.gguf")
        (payload,) = [entry for entry in objects_of(folder, "7b/model.gguf")
                      if entry.endswith(".sealed")]
        self.lab.seal(self.plain, folder, "--key-file", self.key, "--remove-old")
        self.assertTrue(os.path.exists(os.path.join(folder, payload)))
        (top,) = [entry for entry in objects_of(folder, "top.gguf") if entry.endswith(".sealed")]
        self.check(folder, expect=OK)
        self.lab.seal(self.plain, folder, "--key-file", self.key, "--remove-old")
        self.assertFalse(os.path.exists(os.path.join(folder, top)))

    def test_descriptions_exchanged(self):
        """A model's Ollama description is a model to the format: its place is sealed, too."""
        plain = os.path.join(self.plain, "top.gguf")
        folder = self.lab.path("described")
        for name in ("70b/model.gguf", "7b/model.gguf"):
            self.lab.seal(plain, folder, "--key-file", self.key, "--name", name, "--ollama-params",
                          "num_ctx=%d" % (4096 if name.startswith("7b") else 8192))
        exchange(folder, "70b/model.gguf.ollama", "7b/model.gguf.ollama")
        found = self.check(folder, expect=NOT_AUTHENTIC)
        for name in ("70b/model.gguf", "7b/model.gguf"):
            self.assertEqual(found[os.path.join(folder, name + ".seal")], [])
            self.assertEqual(found[os.path.join(folder, name + ".ollama.seal")], ["wrong-name"])
        with self.mount(folder, False, "ollama=default") as mount:
            self.assertIn(WORDS, mount.log())
            self.assertNotIn("num_ctx", self.everything(mount.join("ollama", "blobs")))

    @staticmethod
    def everything(folder):
        """All small files of an Ollama store."""
        text = b""
        for entry in os.scandir(folder):
            if entry.stat().st_size < 65536:
                with open(entry.path, "rb") as blob:
                    text += blob.read()
        return text.decode(errors="replace")


class Equivocation(common.Case):
    """A server that answers with other bytes under one ETag."""

    PARTS = ("s3",)

    def test_another_seal_under_the_same_etag(self):
        lab = self.lab
        key = lab.key_file()
        for name, seed in (("listed", 1), ("later", 2)):
            common.make_model(lab.path(name, "m.gguf"), SIZE, seed)
            lab.seal(lab.path(name, "m.gguf"), lab.s3_url(name + "/"), "--key-file", key)
        with lab.mount(lab.s3_url("listed"), "key-file=" + key, "attest=none",
                       "measure=none") as mount:
            seal = lab.s3.file("listed/m.gguf.seal")
            before = os.stat(seal)
            for entry in objects_of(lab.s3.file("later"), "m.gguf"):
                shutil.copy(lab.s3.file("later/" + entry), lab.s3.file("listed/" + entry))
            os.utime(seal, ns=(before.st_atime_ns, before.st_mtime_ns))
            self.assertEqual(os.stat(seal).st_size, before.st_size)
            self.assert_io_error(mount.join("m.gguf"))
            self.assertIn("has changed since the mount", mount.log())


if __name__ == "__main__":
    common.main()
