"""What the cases of sealctl share: the second reader as judge, folders as sets of names, processes
that are stopped half-way."""

import fcntl
import os
import random
import signal
import subprocess
import sys
import termios
import time

import common

ORACLE = os.path.join(common.TESTS, "oracle", "read_sealed.py")


def files(folder):
    """Relative paths of all files below a folder, hidden and temporary ones too."""
    return sorted(os.path.relpath(os.path.join(where, name), folder)
                  for where, _, names in os.walk(folder) for name in names)


def payloads(folder):
    return [name for name in files(folder) if name.endswith(".sealed")]


def second_reader(folder, key, plain=None, owner=None):
    """Reads every object with the Python reader; {name: "ok" or what was wrong}."""
    argv = ["/usr/bin/python3", ORACLE, "--tree", folder, "--kek", key]
    argv += ["--plain", plain] if plain else []
    argv += ["--owner-key", owner] if owner else []
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=common.COMMAND_S, check=False)
    lines = [line for line in done.stdout.splitlines() if "\t" in line]
    if not lines:
        raise AssertionError(done.stdout)
    return dict(line.rsplit("\t", 1) for line in lines)


def tool_digests(path):
    """sha256sum, sha384sum and fsverity, which know nothing of us."""
    def first(*argv):
        return subprocess.run([*argv, path], stdout=subprocess.PIPE, text=True, check=True,
                              timeout=common.COMMAND_S).stdout.split()[0]
    return {"sha256": first("sha256sum"), "sha384": first("sha384sum"),
            "verity": first("fsverity", "digest").removeprefix("sha256:")}


# A process inherits the peak of the one that it was forked from; so it must be a small one.
MEASURE = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10)
"""


def peak_rss(lab, *argv, who="owner"):
    """Runs sealctl; (exit code, most resident memory in bytes, standard error)."""
    done = lab.run("/usr/bin/python3", "-S", "-c", MEASURE, common.SEALCTL, *argv, who=who)
    code, peak = map(int, done.out.split())
    return code, peak, done.err


def wait_until_drained(child):
    """Until the process has read all that was written to its standard input."""
    left = bytearray(4)

    def drained():
        fcntl.ioctl(child.stdin, termios.FIONREAD, left)
        return int.from_bytes(left, sys.byteorder) == 0
    common.wait_for("reading", drained, child)


def start(lab, *argv, who="owner", stdin=subprocess.DEVNULL, extra=None):
    """A sealctl that runs on."""
    child = subprocess.Popen([common.SEALCTL, *argv], env=lab.env(who, extra=extra), stdin=stdin,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    lab.stack.callback(common.end, child, signal.SIGKILL)
    return child


def ended_by(number):
    """The exit code of a sealctl that was told to stop: Ctrl-C ends a shell's loop, too."""
    return -number if number == signal.SIGINT else common.FAILURE


class Moments:
    """Random moments at which a program is stopped. They adapt to what happened, so that some come
    before its end and some after it, whatever the machine's speed."""

    def __init__(self, seed, span_s):
        self.dice, self.span_s = random.Random(seed), span_s

    def wait(self, child):
        """Until such a moment. False when the program has ended before it."""
        try:
            child.wait(self.dice.random() * self.span_s)
        except subprocess.TimeoutExpired:
            return True
        return False

    def came(self, early):
        """early: it was stopped before its end, or before what the test wants to see."""
        self.span_s *= 1.25 if early else 0.8


def finish(child):
    out, err = child.communicate(timeout=common.COMMAND_S)
    return common.Result(child.returncode, out.decode(errors="replace"),
                         err.decode(errors="replace"))


def wait_until_read(child, path, at_least=1):
    """Until the process has read so many bytes of a file. False when it ended before."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if child.poll() is not None:
            return False
        try:
            for number in os.listdir(f"/proc/{child.pid}/fd"):
                if os.path.realpath(f"/proc/{child.pid}/fd/{number}") != path:
                    continue
                info = common.read_text(f"/proc/{child.pid}/fdinfo/{number}")
                if int(info.split("pos:")[1].split()[0]) >= at_least:
                    return True
        except OSError:
            pass
        time.sleep(0.001)
    raise AssertionError("nothing was read within two minutes")
