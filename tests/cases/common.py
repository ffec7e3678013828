"""What the case files share: a laboratory with emulators, the programs, mounts and models.

A case file runs the real programs of $SEALEDFS_BUILD (default: build/), as root, and judges them
from outside only: exit codes, messages, bytes, what the TPM and the servers saw. Nothing here
links or imports the product.

    class Mounting(common.Case):
        PARTS = ("tpm", "kms", "s3")             # started once for the class, on free ports
        def test_it(self):
            model = common.make_model(self.lab.path("m.gguf"), 50 << 20)
            self.lab.seal(model, self.lab.s3_url("prod/"), "--kms-key", "alias/models")
            with self.lab.mount(self.lab.s3_url("prod")) as mount: ...

Whatever happens to the test process, its mounts are undone, its processes end and its folder goes:
a guardian process waits for that. SEALEDFS_QUICK leaves out what takes long, SEALEDFS_THOROUGH repeats more.
"""

import collections
import contextlib
import ctypes
import faulthandler
import grp
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

import common_files
from common_files import MIB, read_text

CASES = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(CASES)
TOP = os.path.dirname(TESTS)
EMU = os.path.join(TESTS, "emu")
VECTORS = os.path.join(TESTS, "vectors", "format")
sys.path[1:1] = [os.path.join(TESTS, "oracle"), os.path.join(TESTS, "models")]

BUILD = os.path.abspath(os.environ.get("SEALEDFS_BUILD") or os.path.join(TOP, "build"))
SEALCTL = os.path.join(BUILD, "tools", "sealctl")
SEALEDFS = os.path.join(BUILD, "fs", "sealedfs")
QUICK = bool(os.environ.get("SEALEDFS_QUICK"))
THOROUGH = bool(os.environ.get("SEALEDFS_THOROUGH"))
# Keys and configurations that a group may write are refused, whatever the caller's umask is.
os.umask(0o022)

OK, FAILURE, USAGE, NOT_AUTHENTIC, REFUSED, UNREACHABLE = range(6)
CHUNK = 524288
COMMAND_S = 300  # no single command of a case takes as long
CASE_FILE_S = 7000 if THOROUGH else 1800  # tests/run.py gives a file more
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 0x40000
BUCKET = "weights"
REGION = "us-east-1"

Result = collections.namedtuple("Result", "code out err")

model_bytes, make_model = common_files.model_bytes, common_files.make_model
digest, opened, drop_cache = common_files.digest, common_files.opened, common_files.drop_cache
read_bytes, make_socket = common_files.read_bytes, common_files.make_socket
copy_object, copy_tree = common_files.copy_object, common_files.copy_tree


# ---------------------------------------------------------------- processes

def peak_memory(pid):
    """VmHWM of a process in bytes."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM:"))


def wait_for(what, condition, process=None, timeout_s=120):
    """Polls until condition() is true. Fails when time is over or the process has ended."""
    end = time.monotonic() + timeout_s
    while not condition():
        if process is not None and process.poll() is not None:
            raise AssertionError(f"{what}: the process ended with {process.returncode}")
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {timeout_s} s")
        time.sleep(0.01)


def end(process, number=signal.SIGTERM, timeout_s=60):
    """Ends a process that we started."""
    if process.poll() is None:
        process.send_signal(number)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Emulator:
    """A program of tests/emu that announces itself in a port file. attributes: what it announced."""

    control_host = "127.0.0.1"

    def __init__(self, lab, name, *argv):
        self.log_path = lab.path(name + ".log")
        port_file = lab.path(name + ".port")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "--", "/usr/bin/python3",
                 os.path.join(EMU, argv[0]), "--port-file", port_file, *argv[1:]],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=lab.base_env())
        lab.stack.callback(self.stop)
        try:
            wait_for(name, lambda: os.path.exists(port_file), self.process)
        except AssertionError as failure:
            raise AssertionError(f"{failure}\n{read_text(self.log_path)}") from None
        self.values = {}
        for line in read_text(port_file).splitlines():
            key, _, value = line.rpartition("=")
            self.values[key or "port"] = shlex.split(value)[0]
        self.port = int(self.values["port"])
        self.control_port = int(self.values.get("control", self.port))

    def stop(self):
        end(self.process)

    def ask(self, method, path, value=None):
        """A control request; the answer's text."""
        body = None if value is None else json.dumps(value).encode()
        request = urllib.request.Request(f"http://{self.control_host}:{self.control_port}/_emu/{path}",
                                         data=body, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as answer:
            return answer.read().decode()

    @contextlib.contextmanager
    def fault(self, **fields):
        """Adds a fault for the length of a with block; by default it hits every time."""
        self.ask("POST", "fault", {"times": -1, **fields})
        try:
            yield
        finally:
            self.ask("DELETE", "fault")

    def log(self):
        """What the emulator was asked, as a list of objects."""
        text = self.ask("GET", "log")
        return json.loads(text) if text.startswith("[") else [
            json.loads(line) for line in text.splitlines()]

    def clear_log(self):
        self.ask("DELETE", "log")


class Tpm(Emulator):
    """A NitroTPM of its own. PCRs 4 and 7 hold what "firmware" measured."""

    BOOT = "approved boot image"

    def __init__(self, lab, name="tpm", boot=BOOT, banks=None, *options):
        options += ("--banks", ",".join(banks)) if banks else ()
        super().__init__(lab, name, "nitrotpm.py", "--state", lab.path(name), "--ca",
                         lab.path("ca"), "--extend", "4=" + sha384_hex(boot), "--extend",
                         "7=" + sha384_hex("secure boot keys"), *options)
        self.tcti = f"swtpm:host=127.0.0.1,port={self.port}"
        self.root = self.values["root"]

    def run(self, *argv):
        """One of the tpm2-tools, which know nothing of us."""
        done = subprocess.run(argv, env={**os.environ, "TPM2TOOLS_TCTI": self.tcti}, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=COMMAND_S, check=False)
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(argv)}: {done.stdout}")
        return done.stdout

    def pcr(self, bank, index=15):
        """A PCR in hex as tpm2_pcrread shows it."""
        for line in self.run("tpm2_pcrread", f"{bank}:{index}").splitlines():
            if "0x" in line:
                return line.split("0x")[1].strip().lower()
        raise AssertionError(f"no PCR {index} in bank {bank}")

    def extend(self, index, **digests):
        """tpm2_pcrextend; digests: bank=hex."""
        pairs = ",".join(f"{bank}={value}" for bank, value in digests.items())
        self.run("tpm2_pcrextend", f"{index}:{pairs}")


class Kms(Emulator):
    """alias/models opens for PCR 4, 7 and 12 of the laboratory's TPM."""

    def __init__(self, lab, tpm):
        super().__init__(lab, "kms", "kms.py", "--state", lab.path("kms", make=True),
                         "--credentials", lab.credentials, "--root", tpm.root)
        self.url = self.values["url"]
        self.key("alias/models", {index: tpm.pcr("sha384", index) for index in (4, 7, 12)})

    def key(self, alias, pcrs=None, access_keys=None, state=None, **where):
        """Makes or changes a key; returns its ARN. access_keys: as kms_store.check_policy(); where:
        region, multi_region, id, as KeyStore.put()."""
        policy = {"pcrs": {str(index): value for index, value in (pcrs or {}).items()}}
        if access_keys is not None:
            policy["access_keys"] = access_keys
        wanted = {"aliases": [alias], "policy": policy, **where}
        if state:
            wanted["state"] = state
        return json.loads(self.ask("POST", "keys", wanted))["arn"]

    def put_policy(self, alias, document, principals):
        """A key with a whole key policy; principals: {access key: ARN}. Returns its ARN."""
        policy = {"document": document, "principals": principals}
        return json.loads(self.ask("POST", "keys", {"aliases": [alias], "policy": policy}))["arn"]

    def set_state(self, alias, state):
        self.ask("POST", "keys", {"aliases": [alias], "state": state})


class S3(Emulator):
    """The bucket "weights" over a folder that a test may look at and damage."""

    def __init__(self, lab, port=0):
        self.root = lab.path("bucket", make=True)
        super().__init__(lab, "s3", "s3.py", "--root", self.root, "--credentials",
                         lab.credentials, "--bucket", BUCKET, "--port", str(port))
        self.url = f"http://127.0.0.1:{self.port}"

    def file(self, key):
        return os.path.join(self.root, BUCKET, key)


# ---------------------------------------------------------------- mounts

class MountFailed(Exception):
    """sealedfs ended before it was ready: code and err."""

    def __init__(self, code, err):
        super().__init__(f"sealedfs ended with {code}:\n{err}")
        self.code, self.err = code, err


class Mount:
    """A sealedfs in the foreground. path, pid; join() for a file's path."""

    def __init__(self, path, process, log_path):
        self.path, self.process, self.log_path = path, process, log_path
        self.pid = process.pid
        self.ended = False

    def join(self, *parts):
        return os.path.join(self.path, *parts)

    def log(self):
        """Everything that the daemon has said so far."""
        return read_text(self.log_path)

    def kill(self):
        """SIGKILL, as by the OOM killer. Nothing of the mount may be left soon after."""
        self.ended = True
        self.process.kill()
        self.process.wait()
        wait_for("the dead mount to go", lambda: not is_mounted(self.path))

    def unmount(self):
        """As a user does it. The daemon must end by itself, with 0."""
        if self.ended:
            return
        self.ended = True
        # Whoever looks at all mounts, another case's df for one, keeps this one busy for a moment.
        until = time.monotonic() + 60
        while True:
            done = subprocess.run(["fusermount3", "-u", self.path], check=False, timeout=60,
                                  stderr=subprocess.PIPE, text=True)
            if "busy" not in done.stderr or time.monotonic() > until:
                break
            time.sleep(0.1)
        if done.returncode != 0:
            subprocess.run(["umount", "-l", self.path], check=False, timeout=60)
        try:
            code = self.process.wait(120)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("sealedfs did not end after unmounting\n" + self.log()) from None
        if done.returncode != 0 or code != 0:
            raise AssertionError(f"unmounting: {done.stderr} sealedfs ended with {code}\n"
                                 + self.log())


# ---------------------------------------------------------------- the laboratory

GUARDIAN = r"""
read -r _                     # end of file: the test process is gone or done
grep -F " $1/" /proc/self/mounts | cut -d' ' -f2 | sort -r | while read -r target; do
	umount -l "$target"
done
rm -rf --one-file-system "$1"
"""


class Lab:
    """One private folder with everything in it."""

    def __init__(self, parts=()):
        self.dir = os.path.realpath(tempfile.mkdtemp(prefix="sealedfs-case."))
        self.guardian = subprocess.Popen(["/bin/bash", "-c", GUARDIAN, "guardian", self.dir],
                                         stdin=subprocess.PIPE, start_new_session=True)
        self.stack = contextlib.ExitStack()
        self.tpm = self.kms = self.s3 = None
        self.path("home", make=True)
        self.credentials = self.path("credentials.json")
        self.access_keys = {}
        self._make_people()
        self.endpoints = {}
        try:
            if "tpm" in parts or "kms" in parts:
                self.tpm = Tpm(self)
            if "kms" in parts:
                self.kms = Kms(self, self.tpm)
                self.endpoints["AWS_ENDPOINT_URL_KMS"] = self.kms.url
            if "s3" in parts:
                self.s3 = S3(self)
                self.endpoints["AWS_ENDPOINT_URL_S3"] = self.s3.url
        except BaseException:
            self.close()
            raise

    def close(self):
        try:
            self.stack.close()
            self._show_sanitizers()
        finally:
            self.guardian.stdin.close()
            self.guardian.wait(900)  # tens of thousands of files on a slow disk

    def _show_sanitizers(self):
        """What a daemon's sanitizer found is never forgiven: tests/run.py has to see it."""
        if not {"ASAN_OPTIONS", "TSAN_OPTIONS"} & set(os.environ):
            return
        for entry in os.scandir(self.dir):
            if entry.name.endswith(".log") and entry.is_file(follow_symlinks=False):
                text = read_text(entry.path)
                at = re.search(r"\w+Sanitizer: |runtime error: ", text)
                if at:
                    sys.stderr.write(f"--- {entry.name}:\n{text[max(0, at.start() - 200):][:6000]}---\n")

    def path(self, *parts, make=False):
        path = os.path.join(self.dir, *parts)
        os.makedirs(path if make else os.path.dirname(path), exist_ok=True)
        return path

    def s3_url(self, prefix=""):
        return f"s3://{BUCKET}/{prefix}"

    # Who calls

    def _make_people(self):
        """The owner, who seals, and the operator, who mounts, as in real life."""
        entries = {}
        for number, name in enumerate(("owner", "operator")):
            key_id, secret = f"AKIAEMULATEDPERSON{number:02}", f"secret+of/{name}" + "x" * 24
            self.access_keys[name] = key_id
            entries[key_id] = {"secret": secret, "token": None, "expires": None}
            with open(self.path(name, "credentials"), "w", encoding="ascii") as out:
                out.write(f"[default]\naws_access_key_id = {key_id}\n"
                          f"aws_secret_access_key = {secret}\n")
        with open(self.credentials, "w", encoding="ascii") as out:
            json.dump(entries, out)

    def base_env(self):
        """Nothing of the caller's AWS settings, home folder, proxies or TPM."""
        keep = ("PATH", "TMPDIR", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS",
                "PYTHONDONTWRITEBYTECODE")
        env = {name: os.environ[name] for name in keep if name in os.environ}
        return {**env, "HOME": self.path("home"), "LC_ALL": "C.UTF-8"}

    def env(self, who="operator", tpm=None, extra=None):
        tpm = tpm or self.tpm
        return {**self.base_env(), "AWS_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true",
                # By default a second: a busy machine's emulator may need more.
                "AWS_METADATA_SERVICE_TIMEOUT": "30",
                "AWS_CONFIG_FILE": "/dev/null",
                "AWS_SHARED_CREDENTIALS_FILE": self.path(who, "credentials"), **self.endpoints,
                "SEALEDFS_TCTI": tpm.tcti if tpm else "swtpm:host=127.0.0.1,port=1",
                **(extra or {})}

    # The programs

    def run(self, *argv, who="owner", tpm=None, extra=None, stdin=None, cwd=None):
        """Runs a program to its end; stdin: bytes."""
        done = subprocess.run(argv, env=self.env(who, tpm, extra), stdout=subprocess.PIPE, cwd=cwd,
                              stderr=subprocess.PIPE, timeout=COMMAND_S, check=False,
                              **({"input": stdin} if stdin is not None
                                 else {"stdin": subprocess.DEVNULL}))
        return Result(done.returncode, done.stdout.decode(errors="replace"),
                      done.stderr.decode(errors="replace"))

    def sealctl(self, *args, expect=None, **options):
        """Runs sealctl; expect: the exit code that it must have."""
        done = self.run(SEALCTL, *args, **options)
        if expect is not None and done.code != expect:
            raise AssertionError(f"sealctl {' '.join(args)}: exit code {done.code}, expected "
                                 f"{expect}\n{done.out}{done.err}")
        return done

    def seal(self, *args, **options):
        return self.sealctl("seal", *args, expect=OK, **options)

    def hash(self, path):
        """The object that sealctl hash --json prints for one file."""
        found = json.loads(self.sealctl("hash", "--json", path, expect=OK).out)
        found = found.get("files", found) if isinstance(found, dict) else found
        return found[0] if isinstance(found, list) else found

    def key_file(self, name="team"):
        """The path of a new key file."""
        path = self.path(name + ".key")
        self.sealctl("keygen", "key-file", path, expect=OK)
        return path

    def owner_key(self, name="acme"):
        """(private key, public key) of a new owner."""
        self.sealctl("keygen", "owner", self.path(name), expect=OK)
        return self.path(name + ".pem"), self.path(name + ".pub")

    # Mounting

    def _options(self, options):
        if not any(option.startswith("event-log=") for option in options):
            options = ("event-log=" + self.path("events"), *options)
        # Most cases compare whole listings. "ollama=default" leaves the option out.
        if not any(option.startswith("ollama=") for option in options):
            options = ("ollama=off", *options)
        return ",".join(option for option in options if option != "ollama=default")

    def start_mount(self, source, *options, who="operator", tpm=None, extra=None, flag="-f"):
        """A Mount that is ready, or MountFailed. For `with`, see mount()."""
        path = tempfile.mkdtemp(prefix="mnt.", dir=self.dir)
        log_path = path + ".log"
        with open(log_path, "wb") as log:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", SEALEDFS, source, path, flag, "-o",
                 self._options(options)],
                env=self.env(who, tpm, extra), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.stack.callback(end, process, signal.SIGKILL)
        wait_for("mount", lambda: is_mounted(path) or process.poll() is not None,
                 timeout_s=COMMAND_S)
        # The first request is answered when the daemon is ready, or fails when it gives up.
        with contextlib.suppress(subprocess.CalledProcessError):
            subprocess.run(["stat", path], check=True, timeout=COMMAND_S,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if process.poll() is None and is_mounted(path):
                return Mount(path, process, log_path)
        code = process.wait(COMMAND_S)
        if is_mounted(path):
            subprocess.run(["umount", "-l", path], check=False, timeout=60)
            raise AssertionError(f"sealedfs ended with {code} and left its mount behind")
        raise MountFailed(code, read_text(log_path))

    @contextlib.contextmanager
    def mount(self, source, *options, **how):
        """A Mount for the length of a with block."""
        mount = self.start_mount(source, *options, **how)
        try:
            yield mount
        except BaseException:
            sys.stderr.write(f"--- the daemon said:\n{mount.log()[-4000:]}---\n")
            with contextlib.suppress(AssertionError):
                mount.unmount()
            raise
        mount.unmount()

    def mount_fails(self, source, *options, **how):
        """Result of a sealedfs that must not become ready."""
        try:
            mount = self.start_mount(source, *options, **how)
        except MountFailed as failure:
            return Result(failure.code, "", failure.err)
        mount.unmount()
        raise AssertionError("mounted, and should not have been\n" + mount.log())


class Case(unittest.TestCase):
    """A class of cases with a laboratory of its own."""

    PARTS = ()
    maxDiff = 2000

    @classmethod
    def setUpClass(cls):
        for program in (SEALCTL, SEALEDFS):
            if not os.access(program, os.X_OK):
                raise AssertionError(f"{program} has not been built")
        cls.lab = Lab(cls.PARTS)
        cls.addClassCleanup(cls.lab.close)

    def assert_result(self, result, code, *words):
        """Exit code, and each word in the message (case does not matter)."""
        text = result.out + result.err
        self.assertEqual(result.code, code, text)
        for word in words:
            self.assertIn(word.lower(), text.lower())

    def assert_io_error(self, path, *errnos):
        """Opening or reading fails, and not one byte comes out. Returns the OSError."""
        got = b""
        try:
            with open(path, "rb", buffering=0) as source:
                got = source.read(MIB)
        except OSError as failure:
            if errnos:
                self.assertIn(failure.errno, errnos, str(failure))
            return failure
        self.fail(f"{path}: {len(got)} bytes came out")
        return None


# ---------------------------------------------------------------- small things

def sha384_hex(text):
    return hashlib.sha384(text.encode()).hexdigest()


def is_mounted(path):
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        return any(line.split(" ")[1] == path for line in mounts)


def need_group(case, name):
    """The number of a group, which exists as long as the test."""
    if subprocess.run(["getent", "group", name], check=False, stdout=subprocess.DEVNULL).returncode:
        subprocess.run(["groupadd", "--system", name], check=True)
        case.addCleanup(subprocess.run, ["groupdel", name], check=False)
    return grp.getgrnam(name).gr_gid


def need_user_mounts(case):
    """Skips where fusermount3 cannot work for an ordinary user."""
    fusermount = shutil.which("fusermount3")
    if not fusermount or not os.stat(fusermount).st_mode & stat.S_ISUID:
        case.skipTest("fusermount3 is not set-uid root")
    if not os.path.exists("/etc/mtab"):
        case.skipTest("fusermount3 needs /etc/mtab")


def own_mounts():
    """A mount namespace of our own: others' namespaces cannot keep our mounts alive after they
    were undone here, and what we leave ends with us. In a chroot that is no mount point it
    cannot be made private, and in some containers not at all: the cases run without it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0 or \
            libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) != 0:
        print("no mount namespace of our own: " + os.strerror(ctypes.get_errno()))


def usual_signals():
    """What nohup, or a shell's &, has ignored is inherited by the programs, which respect it."""
    for number in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def main():
    """Instead of unittest.main(): a case file that hangs ends itself and says where it was."""
    own_mounts()
    usual_signals()
    faulthandler.dump_traceback_later(CASE_FILE_S, exit=True)
    signal.signal(signal.SIGTERM, lambda *_unused: sys.exit(143))
    unittest.main()
