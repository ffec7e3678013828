#!/usr/bin/python3
"""fs/models, attest: measure=set: one event for a whole set, whoever opens what in whatever order."""

import errno
import itertools
import json
import os
import random
import sys
import time

import common
import common_measuring
import common_sets
from common import CHUNK, FAILURE, OK
from common_measuring import BANKS, extended, models, records, replayed
from common_sets import OBJECT, write

import measured
import sealedformat as sf
import verity

sys.path.append(common.EMU)
import kms_store  # noqa: E402


def set_text(content):
    return "sealedfs:set:sha256:" + content.hex()


class SetMeasured(common_sets.SetCase):
    """With a TPM that is new in each case."""

    PARTS = ("tpm",)
    MEASURE = ("attest=none",)
    NAMES = ("a.bin", "b.bin", "dir/c.bin", "dir/d.bin")

    def setUp(self):
        super().setUp()
        self.tpm = self.lab.tpm
        self.tpm.ask("POST", "reboot", {})
        self.tpm.clear_log()
        self.events = os.path.join(self.dir, "events")
        self.start = measured.start_text("set", "none", [measured.signer_id(self.pub)])

    def options(self, *more):
        return super().options("event-log=" + self.events, *more)

    def content(self):
        """From the plaintexts alone."""
        rows = []
        for name in sorted(self.NAMES, key=str.encode):
            raw = name.encode()
            size = os.stat(os.path.join(self.plain, name)).st_size
            digest = verity.digest_of_file(os.path.join(self.plain, name))
            rows.append(len(raw).to_bytes(2, "little") + raw + bytes(80)
                        + size.to_bytes(8, "little") + bytes(80) + digest + bytes(32))
        return common_sets.content_digest(rows)

    def assert_pcr(self, *contents):
        texts = [self.start, *map(set_text, contents)] if contents else []
        for bank in BANKS:
            want = extended(bank, [measured.of_text(bank, text) for text in texts])
            self.assertEqual(self.tpm.pcr(bank), want, bank)
            if contents:
                self.assertEqual(replayed(self.events, bank), want)

    def read(self, mount, *names):
        for name in names:
            with open(mount.join(name), "rb", buffering=0) as source:
                self.assertEqual(source.read(1),
                                 common.read_bytes(os.path.join(self.plain, name))[:1])

    def extensions(self):
        return [entry for entry in self.tpm.log() if entry["command"] == "extend"]


class OneEvent(SetMeasured):
    def test_the_order_of_opens_does_not_matter(self):
        self.set.put()
        orders = list(itertools.permutations(self.NAMES))
        random.seed(13)
        for order in random.sample(orders, 20):
            with self.subTest(order=order):
                self.tpm.ask("POST", "reboot", {})
                if os.path.exists(self.events):
                    os.unlink(self.events)
                with self.mount() as mount:
                    self.assert_pcr()
                    for name in order:
                        self.read(mount, name)
                        self.assert_pcr(self.content())

    def test_the_record(self):
        self.set.put(5)
        with self.mount() as mount:
            self.read(mount, "b.bin", "a.bin")
            with open(mount.join(".sealedfs", "status.json"), encoding="utf-8") as status:
                found = json.load(status)
            text = self.lab.sealctl("status", mount.path, expect=OK).out
        self.assertEqual(len(self.extensions()), 2)
        start, record = [one["content"] for one in records(self.events)]
        self.assertEqual((start["eventType"], start["string"]), ("start", self.start))
        self.assertEqual(
            {name: record[name] for name in ("eventType", "mode", "model", "string", "set", "setId",
                                             "setVersion", "setMembers")},
            {"eventType": "model", "mode": "set", "model": "weights",
             "string": set_text(self.content()), "set": self.content().hex(),
             "setId": self.set.id.hex(), "setVersion": 5, "setMembers": 4})
        self.assertEqual(found["options"]["measure"], "set")
        self.assertEqual(found["set"]["measured"]["event"], set_text(self.content()))
        self.assertFalse(found["set"]["measured"]["earlier_since_boot"])
        states = {model["name"]: model["state"] for model in found["models"]}
        self.assertEqual(states, {"a.bin": "measured", "b.bin": "measured", "dir/c.bin": "sealed",
                                  "dir/d.bin": "sealed"})
        self.assertIn("measured: " + set_text(self.content()), text)

    def test_what_sealctl_predicts(self):
        """From the set and the mount's options, before anything is mounted; no key is needed."""
        self.set.put()
        with self.lab.mount(self.sealed, *self.options("ready=measured")):
            value = self.tpm.pcr("sha384")
        options = ("--pcr", "--attest", "none", "--owner-key", self.pub)
        text = self.lab.sealctl("hash", *options, self.sealed, expect=OK).out
        self.assertIn(self.start, text)
        self.assertIn(self.content().hex(), text)
        for more in ((), ("--measure", "set")):
            found = json.loads(self.lab.sealctl("hash", "--json", *options, *more, self.sealed,
                                                expect=OK).out)
            self.assertEqual(found["pcr"]["set"]["sha384"], value)
            self.assertEqual(found["set"]["content"], self.content().hex())
        self.assertEqual(list(found["pcr"]), ["set"])
        conf = os.path.join(self.dir, "m.conf")
        write(conf, f"source = {self.sealed}\nmountpoint = /m\nattest = none\n"
                    f"key-file = {self.key}\nowner-key = {self.pub}\n".encode())
        found = json.loads(self.lab.sealctl("hash", "--json", "--pcr", "--config", conf,
                                            expect=OK).out)
        self.assertEqual({mode: banks["sha384"] for mode, banks in found["pcr"].items()},
                         {"set": value})
        write(conf, common.read_bytes(conf) + b"set = off\n")
        found = json.loads(self.lab.sealctl("hash", "--json", "--pcr", "--config", conf,
                                            expect=OK).out)
        self.assertEqual((list(found["pcr"]), found["set"]), (["verity"], None))
        stranger = self.lab.owner_key("foreigner")[1]
        self.assert_result(self.lab.sealctl("hash", "--pcr", "--owner-key", stranger, self.sealed),
                           common.NOT_AUTHENTIC, "unknown signer")
        self.assert_result(self.lab.sealctl("hash", "--pcr", self.sealed, self.key),
                           common.USAGE, "one set and nothing else")

    def test_ready(self):
        self.set.put()
        with self.mount("ready=unlocked"):
            self.assert_pcr()
        with self.mount("ready=measured") as mount:
            self.assert_pcr(self.content())
            self.read(mount, *self.NAMES)
            self.assert_pcr(self.content())
        with self.mount("ready=measured", "model=a.bin") as mount:  # once a boot
            self.assert_pcr(self.content())
            with open(mount.join(".sealedfs", "status.json"), encoding="utf-8") as status:
                found = json.load(status)
            self.assertTrue(found["set"]["measured"]["earlier_since_boot"])
            self.assertEqual(found["models"][0]["state"], "measured")
        os.unlink(self.set.seal_path("a.bin"))
        self.refused(common.NOT_AUTHENTIC, "a member is missing",
                     options=("ready=measured", "model=a.bin"))
        with self.mount("ready=measured") as mount:
            self.read(mount, "b.bin")
        self.assertEqual(len(self.extensions()), 2)

    def test_other_modes_measure_members(self):
        self.set.put()
        start = measured.start_text("verity", "none", [measured.signer_id(self.pub)])
        with self.mount("measure=verity") as mount:
            self.read(mount, "b.bin", "a.bin")
            want = common_measuring.predicted(
                "verity", "sha384", *(os.path.join(self.plain, name) for name in ("b.bin", "a.bin")),
                start=start)
            self.assertEqual(self.tpm.pcr("sha384"), want)

    def test_without_a_set(self):
        self.refused(FAILURE, "there is no set", options=("measure=set",))
        with self.mount() as mount:
            self.read(mount, "a.bin")
        self.assertEqual(models(self.events)[0]["content"]["mode"], "verity")
        self.set.put()
        with self.mount("set=off") as mount:
            self.read(mount, "a.bin")
        self.assertEqual(len(records(self.events)), 2)

    def test_newer_versions(self):
        self.set.put(1)
        with self.mount() as mount:
            self.read(mount, "a.bin")
            first = self.content()
            self.assert_pcr(first)
            self.set.put(2)
            self.reload(mount)
            self.read(mount, "b.bin")
            self.assert_pcr(first)  # the same content
            more = os.path.join(self.dir, "more")
            self.model(os.path.join(more, "b.bin"), 77)
            write(os.path.join(self.plain, "b.bin"), common.read_bytes(os.path.join(more, "b.bin")))
            self.lab.seal(more, self.sealed, "--key-file", self.key, "--sign", self.pem, "-q")
            self.set.admit("b.bin")
            self.set.put(3)
            self.reload(mount)
            self.read(mount, "a.bin")  # open since version 1
            self.assert_pcr(first)
            self.read(mount, "dir/c.bin")
            self.assert_pcr(first, self.content())
            self.read(mount, "b.bin", "dir/d.bin")
            self.assert_pcr(first, self.content())

    def test_a_reload_measures_before_it_shows(self):
        self.set.put(1)
        with self.mount("ready=measured") as mount:
            first = self.content()
            names, self.NAMES = self.NAMES, ("a.bin", "dir/c.bin")
            self.addCleanup(setattr, self, "NAMES", names)
            self.set.put(2, rows=self.set.rows(self.NAMES))
            self.reload(mount)
            self.assert_pcr(first, self.content())

    def test_a_reset_of_the_tpm(self):
        self.set.put()
        with self.mount() as mount:
            self.read(mount, "a.bin")
            self.tpm.ask("POST", "reboot", {})
            time.sleep(1.2)
            self.read(mount, "b.bin")
            self.assert_pcr(self.content())
            self.assertIn("was measured again", mount.log())
            self.tpm.extend(15, sha256="11" * 32, sha384="11" * 48)
            time.sleep(1.2)
            self.assert_io_error(mount.join("a.bin"), errno.EACCES)
            self.assert_io_error(mount.join("dir/c.bin"), errno.EACCES)

    def test_each_chunk_is_checked(self):
        """Who holds a member's data key cannot serve other bytes under the tag that fits."""
        from measuring_forged import same_tag
        self.set.put()
        raw = common.read_bytes(self.set.seal_path("a.bin"))
        seal = sf.Seal(raw)
        data_key = next(key for key in sf.unwrapped(seal, self.set.kek) if key)
        keys = sf.derive_keys(data_key, seal.core)
        path = os.path.join(self.sealed, sf.payload_name("a.bin", seal.file_id))
        payload = common.read_bytes(path)
        with self.mount() as mount:
            self.read(mount, "b.bin")
            write(path, same_tag(keys.payload, payload[:CHUNK]) + payload[CHUNK:])
            self.assert_io_error(mount.join("a.bin"), errno.EIO, errno.EBADMSG)
            self.assertIn("replaced chunk", mount.log())


class Bucket(SetMeasured):
    """S3 and KMS: how many requests a mount takes."""

    PARTS = ("tpm", "kms", "s3")
    MEMBERS = 300

    def setUp(self):
        super().setUp()
        self.prefix = self.id().rsplit(".", maxsplit=1)[-1]
        self.folder = self.lab.s3.file(self.prefix)
        self.start = measured.start_text("set", "nitrotpm", [measured.signer_id(self.pub)])

    def options(self, *more):
        return ("owner-key=" + self.pub, "event-log=" + self.events, *more)

    def put_with_kms(self, writer, **how):
        """The set's one recipient is a KMS key, whose policy wants this machine."""
        store = kms_store.KeyStore(self.lab.path("kms"))
        key = store.find("alias/models", store.region)
        blob = store.wrap(key, writer.key, {"sealedfs:file-id": writer.id.hex()})
        body = common_sets.sealwriter.kms_body(store.arn(key).encode(), blob)
        writer.put(slots=common_sets.sealwriter.slot(sf.SLOT_KMS, body), **how)

    def make(self, members):
        """Members that can be opened through their set only, in the bucket."""
        plain = os.path.join(self.dir, "many")
        self.NAMES = tuple(f"m{number:03}.bin" for number in range(members))
        os.makedirs(plain)
        for seed, name in enumerate(self.NAMES):
            common.make_model(os.path.join(plain, name), 2000 + seed, seed)
        self.plain = plain
        os.makedirs(os.path.dirname(self.folder), exist_ok=True)
        self.seal(to=self.folder)
        writer = common_sets.SetWriter(self.folder, self.key, self.pem)
        writer.admit(alone=True)
        self.put_with_kms(writer)
        return writer

    def requests(self):
        """What S3 was asked for."""
        return [(entry["method"], entry["key"]) for entry in self.lab.s3.log()]

    def test_many_members(self):
        """One object and one unlock for all; the time is printed and not judged."""
        self.make(self.MEMBERS)
        self.lab.kms.clear_log()
        self.lab.s3.clear_log()
        with self.lab.kms.fault(kind="slow", ms=40):
            began = time.monotonic()
            with self.lab.mount(self.lab.s3_url(self.prefix),
                                *self.options("ready=measured")) as mount:
                print(f"{self.MEMBERS} members, 40 ms a KMS call: ready after "
                      f"{time.monotonic() - began:.2f} s")
                self.assertEqual(len(os.listdir(mount.path)), self.MEMBERS)
                self.assertEqual(sorted(self.requests()), [
                    (method, f"{self.prefix}/{OBJECT}")
                    for method in ("GET", "HEAD")])
                self.assert_pcr(self.content())
                names = list(self.NAMES)
                random.shuffle(names)
                self.assert_serves(mount, *names[:20])
                self.assert_pcr(self.content())
        calls = [entry["operation"] for entry in self.lab.kms.log()]
        self.assertEqual(calls, ["Decrypt"])

    def test_a_member_in_the_bucket(self):
        """Missing, exchanged or without its payload: one is refused, the others go on."""
        writer = self.make(4)
        missing, exchanged, without, good = self.NAMES
        with self.lab.mount(self.lab.s3_url(self.prefix), *self.options()) as mount:
            os.unlink(writer.seal_path(missing))
            write(writer.seal_path(exchanged), common.read_bytes(writer.seal_path(good)))
            seal = sf.Seal(common.read_bytes(writer.seal_path(without)))
            os.unlink(os.path.join(self.folder, sf.payload_name(without, seal.file_id)))
            for name, code, words in (
                    (missing, errno.EBADMSG, "a member is missing"),
                    (exchanged, errno.EBADMSG, "it is the seal of the model"),
                    (without, errno.EIO, "payload is missing")):
                self.assert_io_error(mount.join(name), code)
                self.assertIn(words, mount.log())
                self.assertIn(words, self.lab.sealctl("status", mount.path).out)
            self.assert_serves(mount, good)
        self.put_with_kms(writer, version=2, expires=int(time.time()) - 1, created=1)
        done = self.lab.mount_fails(self.lab.s3_url(self.prefix), *self.options())
        self.assert_result(done, common.REFUSED, "the set has expired")

    def test_from_plaintext_to_pcr(self):
        """The value is known before anything is sealed or mounted."""
        options = ("--pcr", "--owner-key", self.pub)
        found = json.loads(self.lab.sealctl("hash", "--json", "--set", *options, "--measure", "set",
                                            self.plain, expect=OK).out)
        url = self.lab.s3_url(self.prefix)
        # The owner's key file is for the second version: only the machine may ask KMS.
        seal = (url + "/", "--set", "weights", "--kms-key", "alias/models", "--key-file", self.key,
                "--sign", self.pem, "-q")
        self.lab.seal(self.plain + "/", *seal)
        self.lab.kms.clear_log()
        with self.lab.mount(url, *self.options()) as mount:
            self.assert_serves(mount, *reversed(self.NAMES))
            self.assert_pcr(self.content())
            self.assertEqual(self.tpm.pcr("sha384"), found["pcr"]["set"]["sha384"])
            self.assertEqual([entry["operation"] for entry in self.lab.kms.log()], ["Decrypt"])
            # Whoever seals the same files again: the same value, and a newer version.
            self.lab.seal(self.plain + "/", *seal, "--again")
            self.lab.kms.clear_log()
            self.reload(mount)
            common.drop_cache(mount.join("a.bin"))
            self.assert_serves(mount)
            self.assert_pcr(self.content())
            self.assertEqual(self.lab.kms.log(), [])
            with open(mount.join(".sealedfs", "status.json"), encoding="utf-8") as status:
                self.assertEqual(json.load(status)["set"]["version"], 2)

    def test_reload(self):
        """A newer version needs no key, an unchanged one not even a reading."""
        writer = self.make(5)
        with self.lab.mount(self.lab.s3_url(self.prefix), *self.options()) as mount:
            self.lab.kms.clear_log()
            self.lab.s3.clear_log()
            self.reload(mount)
            self.assertEqual([method for method, _ in self.requests()], ["HEAD"])
            self.put_with_kms(writer, version=2, rows=writer.rows(self.NAMES[:3]))
            self.reload(mount)
            self.assertEqual(sorted(os.listdir(mount.path)), list(self.NAMES[:3]))
            self.assert_serves(mount, *self.NAMES[:3])
            self.assertEqual(self.lab.kms.log(), [])
            os.unlink(os.path.join(self.folder, OBJECT))
            self.reload(mount, FAILURE, "is gone")
            self.assert_serves(mount, *self.NAMES[:3])


if __name__ == "__main__":
    common.main()
