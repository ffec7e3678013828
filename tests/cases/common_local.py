"""For cases whose source is a folder of small models, sealed for one key file."""

import json
import os

import common


class Local(common.Case):
    PARTS = ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = cls.lab.key_file()
        cls.options = ("key-file=" + cls.key, "attest=none", "measure=none")

    def sealed(self, name, *models):
        """A folder with small models of these names."""
        plain, folder = self.lab.path(name + "-plain", make=True), self.lab.path(name)
        for number, model in enumerate(models or ("a.bin", "b.bin")):
            path = os.path.join(plain, model)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            common.make_model(path, 700_000 + number, seed=number)
        self.lab.seal(plain, folder, "--key-file", self.key)
        return plain, folder

    def mount(self, source, *options):
        return self.lab.mount(source, *self.options, *options)

    def mount_fails(self, source, *options):
        return self.lab.mount_fails(source, *self.options, *options)

    def same(self, mount, plain, *names):
        for name in names:
            self.assertEqual(common.digest(mount.join(name)),
                             common.digest(os.path.join(plain, name)), name)

    def status(self, mount, expect):
        done = self.lab.sealctl("status", "--json", mount.path)
        self.assertEqual(done.code, expect, done.out + done.err)
        return json.loads(done.out)
