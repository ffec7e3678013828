"""A control group with a memory limit, for cases."""

import contextlib
import itertools
import os
import re

NUMBERS = itertools.count()


class Cgroup:
    """A memory limit, by cgroup v2 or v1, whichever this machine has."""

    def __init__(self, case, limit_bytes):
        for base, limit, events in (
                ("/sys/fs/cgroup", "memory.max", "memory.events"),
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.oom_control")):
            if not os.path.exists(os.path.join(base, "cgroup.procs")):
                continue
            self.base, self.number = base, next(NUMBERS)
            self.path = os.path.join(base, f"sealedfs-case-{os.getpid()}-{self.number}")
            self.events = os.path.join(self.path, events)
            with contextlib.suppress(OSError):
                os.mkdir(self.path)
                case.addCleanup(self._remove)
                with open(os.path.join(self.path, limit), "w", encoding="ascii") as out:
                    out.write(str(limit_bytes))
                return
        case.skipTest("no memory cgroup may be made here")

    def _remove(self):
        with contextlib.suppress(OSError):
            os.rmdir(self.path)

    def add(self, pid):
        with open(os.path.join(self.path, "cgroup.procs"), "w", encoding="ascii") as out:
            out.write(str(pid))

    @contextlib.contextmanager
    def inside(self):
        """Programs that are started in a with block are in the group from the first."""
        with open("/proc/self/cgroup", encoding="ascii") as groups:
            own = re.search(r"^\d+:(?:memory|):(.*)$", groups.read(), re.M)[1]
        self.add(os.getpid())
        try:
            yield
        finally:
            with open(self.base + own + "/cgroup.procs", "w", encoding="ascii") as out:
                out.write(str(os.getpid()))

    def kills(self):
        with open(self.events, encoding="ascii") as events:
            found = re.search(r"^oom_kill (\d+)", events.read(), re.M)
        return int(found[1]) if found else 0
