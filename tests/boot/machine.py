"""A machine with a real systemd, for cases: boots, reboots, loses power, and leaves nothing.

    boot.prepare()                             # once a process, before anything listens
    with boot.Machine(lab) as machine:         # installed by `meson install`, booted
        machine.write("/etc/sealedfs/models.conf", text)
        machine.systemctl("enable", "--now", "sealedfs@models")
        machine.reboot()

The machine shares the network of the test process (a loopback of its own after prepare()),
so the emulators are beside it, as AWS is to an instance. Its files lie in the laboratory's
folder, its processes in one control group. Whatever happens to the test process, a guardian ends
that group.
"""

import ctypes
import fcntl
import os
import shlex
import signal
import socket
import struct
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
SCRIPT = os.path.join(HERE, "machine")
ROOTS = os.path.join(TOP, "build", "boot")
CLONE_NEWNET = 0x40000000
METADATA_ADDRESS = "169.254.169.254"
BOOT_S = 300
COMMAND_S = 300
STATES = ("initializing", "starting", "running", "degraded", "maintenance")

# Stays in the directory above the group, which may be unmounted under it.
GUARDIAN = r"""
cd "$1" || exit
read -r _                     # end of file: the test process is gone or done
echo 1 >"$2/cgroup.kill"
while grep -q 'populated 1' "$2/cgroup.events"; do sleep 0.05; done
find "$2" -depth -type d -exec rmdir {} +
"""


def why_not():
    """Why no machine can be booted here, or None."""
    if os.geteuid() != 0:
        return "needs root"
    try:
        with open("/dev/fuse", "rb"):
            pass
    except OSError as failure:
        return str(failure)
    script = ("set -e; mount --make-rprivate /; mount -t tmpfs tmpfs /mnt; cd /mnt; "
              "mkdir a b c d cg; mount -t overlay -o lowerdir=a,upperdir=b,workdir=c overlay d; "
              "mount -t cgroup2 cgroup2 cg; test -w cg/cgroup.procs; mount -t proc proc /proc")
    done = subprocess.run(["unshare", "-m", "-p", "-u", "-i", "-C", "--fork", "bash", "-c", script],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False, timeout=60)
    return None if done.returncode == 0 else "no namespaces here: " + done.stdout.strip()


def prepare():
    """Fetches what a machine is made of, the first time; then leaves the network."""
    debian_root()
    private_network()


def debian_root():
    try:
        done = subprocess.run([SCRIPT, "root", ROOTS], check=False, text=True, timeout=1200,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
    except subprocess.TimeoutExpired as late:
        raise NoRoot(str(late)) from None
    if done.returncode != 0:
        raise NoRoot(done.stderr.strip())
    return done.stdout.strip()


def give_room(lab, path):
    """What overlayfs writes to cannot be on an overlay itself, as the root of a container is:
    then the machine's disk is in memory."""
    script = 'cd "$1"; mkdir a b c d; mount -t overlay -o lowerdir=a,upperdir=b,workdir=c overlay d'
    done = subprocess.run(["unshare", "-m", "bash", "-c", "set -e; " + script, "bash",
                           lab.path("overlay", make=True)], stdin=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, check=False, timeout=60)
    if done.returncode == 0:
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "disk", path], check=True,
                   timeout=60)
    lab.stack.callback(subprocess.run, ["umount", "-l", path], check=False, timeout=60)


def private_network():
    """A network of loopback alone for this process and its children, with the address at which
    an EC2 instance finds its metadata."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWNET)")
    siocsifaddr, siocgifflags, siocsifflags, iff_up = 0x8916, 0x8913, 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        flags = struct.unpack_from("16sh", fcntl.ioctl(control, siocgifflags,
                                                       struct.pack("40s", b"lo")))[1]
        fcntl.ioctl(control, siocsifflags, struct.pack("16sh22x", b"lo", flags | iff_up))
        fcntl.ioctl(control, siocsifaddr, struct.pack(
            "16sHH4s16x", b"lo:1", socket.AF_INET, 0, socket.inet_aton(METADATA_ADDRESS)))


class NoRoot(Exception):
    """The Debian root could not be made: the package mirror, most likely."""


class CommandFailed(AssertionError):
    """A command inside ended with another exit code than it should."""


class Machine:
    """One machine. After the constructor it runs."""

    def __init__(self, lab, build):
        self.dir = lab.path("machine", make=True)
        self.console_path = lab.path("machine", "console.log")
        self.process = None
        self.root = debian_root()
        give_room(lab, self.dir)
        subprocess.run(["unshare", "-m", SCRIPT, "install", self.root, self.dir, build],
                       check=True, stdin=subprocess.DEVNULL, timeout=120)
        self._make_group(lab)
        lab.stack.callback(self.close)
        self.boot()

    def __enter__(self):
        return self

    def __exit__(self, *_unused):
        self.close()

    # Power

    def _make_group(self, lab):
        top = lab.path("machine", "cgroup", make=True)
        subprocess.run(["mount", "-t", "cgroup2", "cgroup2", top], check=True, timeout=60)
        lab.stack.callback(subprocess.run, ["umount", "-l", top], check=False, timeout=60)
        name = os.path.basename(lab.dir)
        self.group = os.path.join(top, name)
        for part in ("init", "visitors"):
            os.makedirs(os.path.join(self.group, part))
        self.guardian = subprocess.Popen(["/bin/bash", "-c", GUARDIAN, "guardian", top, name],
                                         stdin=subprocess.PIPE, start_new_session=True)

    def _join(self, name):
        """For preexec_fn: the child enters a group of ours."""
        path = os.path.join(self.group, name, "cgroup.procs")

        def enter():
            with open(path, "w", encoding="ascii") as procs:
                procs.write("0")
        return enter

    def boot(self):
        """Returns when systemd answers; see wait_started(). Seconds that it took."""
        began = time.monotonic()
        with open(self.console_path, "ab") as console:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", "unshare", "-m", "-p", "-u", "-i", "-C",
                 "--fork", "--kill-child", "--propagation", "private", SCRIPT, "boot", self.root,
                 self.dir], stdin=subprocess.DEVNULL, stdout=console, stderr=console,
                preexec_fn=self._join("init"))
        try:
            self._wait("systemd", lambda: self._init_pid() and self.run(
                "systemctl", "is-system-running", check=None).out.strip() in STATES)
        except AssertionError as failure:
            raise AssertionError(f"{failure}\n{self.console()}") from None
        return time.monotonic() - began

    def wait_started(self, timeout_s=BOOT_S):
        """Until every start job of the boot is done. "running" or "degraded"."""
        return self.run("systemctl", "is-system-running", "--wait", check=None,
                        timeout_s=timeout_s).out.strip()

    def _wait(self, what, condition, timeout_s=BOOT_S):
        end = time.monotonic() + timeout_s
        while not condition():
            if self.process.poll() is not None:
                raise AssertionError(f"{what}: the machine ended ({self.process.returncode})")
            if time.monotonic() > end:
                raise AssertionError(f"{what}: not within {timeout_s} s")
            time.sleep(0.02)

    def _init_pid(self):
        """Our number of the machine's process 1, once that is systemd."""
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        try:
            with open(path, encoding="ascii") as children:
                pid = int(children.read().split()[0])
            with open(f"/proc/{pid}/comm", encoding="ascii") as comm:
                return pid if comm.read().strip() == "systemd" else None
        except (OSError, IndexError):
            return None

    def reboot(self, meanwhile=None):
        """As an administrator does it: everything is stopped in order, and starts again.
        meanwhile: called in between."""
        self.run("systemctl", "reboot", check=None)
        code = self.process.wait(BOOT_S)
        # The kernel's way to say that process 1 of a name space called reboot(2).
        if code not in (-signal.SIGHUP, 128 + signal.SIGHUP):
            raise AssertionError(f"the machine ended with {code}\n{self.console()}")
        if meanwhile:
            meanwhile()
        return self.boot()

    def cut_power(self):
        """Everything ends at once; the disk stays. boot() starts it again."""
        self._empty_group()
        self.process.wait(BOOT_S)

    def _empty_group(self):
        with open(os.path.join(self.group, "cgroup.kill"), "w", encoding="ascii") as kill:
            kill.write("1")

    def close(self):
        """Also after a failure, and twice."""
        if self.guardian is None:
            return
        self.guardian.stdin.close()
        self.guardian.wait(300)
        self.guardian = None
        if self.process:
            self.process.wait(120)

    # What is done inside

    def run(self, *argv, check=0, timeout_s=COMMAND_S, stdin=None):
        """Runs a command as root inside. check: the exit code it must have, None for any.
        An object with code and out (both output streams)."""
        done = self._enter(argv, stdin=subprocess.PIPE if stdin else subprocess.DEVNULL)
        try:
            out, _ = done.communicate(stdin, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            done.kill()
            out, _ = done.communicate()
            raise CommandFailed(f"{shlex.join(argv)}: not within {timeout_s} s\n{out}") from None
        result = subprocess.CompletedProcess(argv, done.returncode, out)
        result.code, result.out = done.returncode, out
        if check is not None and result.code != check:
            raise CommandFailed(f"{shlex.join(argv)}: exit code {result.code}, expected {check}\n"
                                f"{out}\n{self.journal(40)}")
        return result

    def _enter(self, argv, **how):
        return subprocess.Popen(
            ["nsenter", "--target", str(self._init_pid() or 0), "--mount", "--pid", "--uts",
             "--ipc", "--cgroup", "--root", "--wd", "--", "env", "-i", "LC_ALL=C.UTF-8",
             "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "SYSTEMD_PAGER=", *argv],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            preexec_fn=self._join("visitors"), **how)

    def systemctl(self, *argv, check=0, **how):
        return self.run("systemctl", *argv, check=check, **how)

    def show(self, unit, name):
        """One property of a unit."""
        return self.systemctl("show", "--value", "-p", name, unit).out.strip()

    def status(self, unit):
        """What an operator sees who asks what is wrong."""
        return self.systemctl("status", "--no-pager", "--full", unit, check=None).out

    def journal(self, lines=200, unit=None):
        where = ["-u", unit] if unit else []
        return self.run("journalctl", "--no-pager", "-b", "-n", str(lines), *where, check=None).out

    def console(self):
        with open(self.console_path, encoding="utf-8", errors="replace") as text:
            return text.read()[-6000:]

    def write(self, path, text, mode=0o644, owner="root:root"):
        """A file of the running machine."""
        self.run("install", "-D", "-m", f"{mode:o}", "-o", owner.split(":", maxsplit=1)[0],
                 "-g", owner.split(":")[1], "/dev/stdin", path, stdin=text)

    def copy_in(self, source, path):
        """A file of ours, of any content."""
        with open(source, "rb") as data:
            done = self._enter(("cp", "/dev/stdin", path), stdin=data)
            out, _ = done.communicate(timeout=COMMAND_S)
        if done.returncode != 0:
            raise CommandFailed(f"{path}: {out}")

    def wait_until(self, what, condition, timeout_s=120):
        """Polls something about a machine that must stay alive."""
        try:
            self._wait(what, condition, timeout_s)
        except AssertionError as failure:
            raise AssertionError(f"{failure}\n{self.journal(60)}") from None

    def is_active(self, unit):
        return self.show(unit, "ActiveState")
