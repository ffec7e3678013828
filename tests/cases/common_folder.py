"""Cases over models in a directory, sealed once with a key file. For the case files beside it."""

import common


class FolderCase(common.Case):
    """SIZES: name -> bytes of the models; self.source: the directory with their seals."""

    PARTS = ()
    SIZES = {}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for seed, (name, size) in enumerate(cls.SIZES.items()):
            common.make_model(cls.lab.path("plain", name), size, seed)
        cls.key = cls.lab.key_file()
        cls.source = cls.lab.path("sealed")
        cls.lab.seal(cls.lab.path("plain"), cls.source, "--key-file", cls.key)

    def options(self, *more):
        return ("key-file=" + self.key, "attest=none", "measure=none", *more)

    def mount(self, *more, source=None):
        return self.lab.mount(source or self.source, *self.options(*more))
