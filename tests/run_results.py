"""What tests/run.py counts, and the second chance of a file that failed.

A file that fails beside others may have failed because of them: it is run once more, alone, when the
suite's other files are done. If it passes then, it counts as passed, and as unsteady: that is printed,
and it is a fault to be mended like any other. What a sanitizer found is never forgiven.
"""

import re
import time

SHOWN = 80  # lines of the output of what failed
# So many files of one suite are not unsteady: something is broken, and nothing is run again. Nor is it
# when this has taken so many seconds.
MANY, AGAIN_S = 10, 1800

# How a sanitizer ends a program (see ASAN_ENV and TSAN_ENV in run.py), and what it prints.
ASAN_FOUND, TSAN_FOUND = 99, 66
FOUND = re.compile(r"ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|runtime error:"
                   r"|\b(with|code|status) (99|66)\b|\b(99|66) != [0-5]\b|\b[0-5] != (99|66)\b")


class Result:
    """What one suite counted."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.notes = []
        self.details = []  # (name, end of the output) of what failed
        self.reasons = []  # of what was skipped
        self.unsteady = []  # (name, end of the first output) of what passed only when alone
        self._later = []  # what failed and may be run again

    def add(self, passed=0, failed=0, skipped=0, note=None, out=""):
        self.passed += passed
        self.failed += failed
        self.skipped += skipped
        if note:
            self.notes.append(note)
            if out:
                self.details.append((note, out.splitlines()[-SHOWN:]))

    def merge(self, other):
        self.add(other.passed, other.failed, other.skipped)
        for name in ("notes", "details", "reasons", "unsteady"):
            getattr(self, name).extend(getattr(other, name))

    def take(self, count, name, code, out, again):
        """Counts one program by count(result, name, code, out). again(): its code and output anew."""
        first = Result()
        count(first, name, code, out)
        if first.failed and not sanitizer_found(code, out):
            self._later.append((first, count, name, out, again))
        else:
            self.merge(first)

    def run_again(self, log, alone=lambda: None):
        """At the end of a suite: each file that failed has its second chance, after alone()."""
        later, self._later = self._later, []
        if 0 < len(later) <= MANY:
            alone()
        end = time.monotonic() + AGAIN_S
        for first, count, name, out, again in later:
            if len(later) > MANY or time.monotonic() > end:
                self.merge(first)
                continue
            code, second_out = again()
            log.write("$ again, alone: %s\n%s" % (name, second_out))
            log.flush()
            second = Result()
            count(second, name, code, second_out)
            # A test that failed and is skipped now has not passed.
            skips_more = second.skipped > first.skipped and first.passed > 0
            if second.failed or second.passed == 0 or skips_more:
                self.merge(second if second.failed else first)
            else:
                self.merge(second)
                self.unsteady.append((name, out.splitlines()[-SHOWN:]))


def sanitizer_found(code, out):
    return code in (ASAN_FOUND, TSAN_FOUND) or bool(FOUND.search(out))


def count_cmocka(result, name, code, out):
    """cmocka closes with PASSED/FAILED/SKIPPED totals on standard error."""
    passed = sum(map(int, re.findall(r"\[  PASSED  \] (\d+) test", out)))
    failed = len(set(re.findall(r"^\[  FAILED  \] ([a-z_]\S*)", out, re.M)))
    skipped = sum(map(int, re.findall(r"\[  SKIPPED \] (\d+) test", out)))
    if passed + failed + skipped == 0:  # a replay program, or a crash before the first test
        passed, failed = int(code == 0), int(code != 0)
    elif code != 0 and failed == 0:
        failed = 1
    result.add(passed, failed, skipped, note=None if failed == 0 else name, out=out)


def count_unittest(result, path, code, out):
    """unittest's own closing numbers."""
    ran = re.search(r"^Ran (\d+) tests?", out, re.M)
    if not ran:
        result.add(failed=1, note=path + " did not run", out=out)
        return
    bad = sum(int(n) for k, n in re.findall(r"(failures|errors)=(\d+)", out))
    skipped = sum(int(n) for n in re.findall(r"skipped=(\d+)", out))
    if code != 0 and bad == 0:
        bad = 1
    result.add(max(0, int(ran[1]) - bad - skipped), bad, skipped,
               note=None if bad == 0 else path, out=out)
    for reason in re.findall(r"^\S+ .* \.\.\. skipped (.*)$", out, re.M):
        result.reasons.append(reason.strip("'\""))


def show(result, details):
    """Prints what a suite's numbers do not say. details: (name, lines) of what failed."""
    for reason in sorted(set(result.reasons)):
        print("    skipped %d: %s" % (result.reasons.count(reason), reason), flush=True)
    for name, lines in result.unsteady:
        print("    unsteady: %s: failed beside others, passed alone" % name)
        show_end(name, lines)
    if result.failed:
        for note in result.notes[:20]:
            print("    failed: " + note)
        for name, lines in details[:10]:
            show_end(name, lines)


def show_end(name, lines):
    print("    ... the end of the output of %s:" % name)
    print("".join("    | %s\n" % line for line in lines), flush=True)


def last_lines(total):
    """What tools/check ends with; the very last line always has this form."""
    unsteady = "%d unsteady: see above\n" % len(total.unsteady) if total.unsteady else ""
    return unsteady + "%d passed, %d failed, %d skipped" % (total.passed, total.failed, total.skipped)
