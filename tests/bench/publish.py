"""What the documents state about speed, made from bench.json alone, so that words, tables and picture agree.

The project's README has the rates, the benchmark's README the goals. Each text stands between two marks in its
document; nothing else of it is changed.
"""

import json
import os

import report

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
# Work -> its words in the README's table.
RATES = (("read", "`read()` 1 MiB"), ("mmap", "`mmap` MAP_POPULATE"), ("direct", "`O_DIRECT` 4 MiB"),
         ("readers4", "4 readers"))
SUBJECTS = (("null", "do-nothing FUSE"), ("declared", "`declared`"), ("verity", "`verity`"),
            ("verity-openssl", "`verity`, OpenSSL alone"), ("gocryptfs", "gocryptfs"),
            ("rclone", "rclone crypt"))


def line(cells):
    return "| " + " | ".join(cells) + " |"


def rates_table(result):
    groups = {group["name"]: {row["subject"]: row for row in group["rows"] if row["samples"]}
              for group in result["groups"]}
    shown = [(name, words) for name, words in SUBJECTS
             if any(name in groups.get(work, {}) for work, _ in RATES)]
    if not shown:
        return []
    lines = [line(["GB/s", *(words for _, words in shown)]), line(["---"] * (1 + len(shown)))]
    for work, words in RATES:
        if work in groups:
            lines.append(line([words, *(
                report.number(groups[work][name]["value"]["median"]) if name in groups[work] else "-"
                for name, _ in shown)]))
    return [*lines, ""]


def against_words(goal):
    names = {"null": "do-nothing FUSE", "plain": "plain file", "sample": "AWS sample's way",
             "bound": "cipher and hashes", "first-16m:verity": "16 MB"}
    return " or ".join(names.get(name, name) for name in goal["against"])


def goals_table(goals):
    if not goals:
        return []
    lines = [line(["work", "goal", "reached", ""]), line(["---"] * 4)]
    for goal in goals:
        relation = {">=": "\u2265", "<=": "\u2264"}[goal["relation"]]
        if goal["against"]:
            wanted = "%s %s \u00d7 %s" % (relation, goal["factor"], against_words(goal))
            reached = "%.2f \u00d7" % goal["reached"]
        elif goal["of"] == "value":
            wanted, reached = ("%s %.0f ms" % (relation, 1000 * goal["factor"]),
                               "%.1f ms" % (1000 * goal["reached"]))
        else:
            wanted, reached = "%s %s MiB" % (relation, goal["factor"]), "%.0f MiB" % goal["reached"]
        lines.append(line([goal["line"], wanted, reached, "met" if goal["met"] else "**not met**"]))
    return [*lines, ""]


def rates_text(result):
    about = result["machine"]
    words = ("%d cores (%s), %s, kernel %s; medians of %d runs on a model of %d MB, ciphertext in the "
             "page cache, plaintext not; %s." % (
                 about["cpus"], about["cpu"], about["system"], about["kernel"], result["runs"],
                 result["size_mb"], result["date"][:10]))
    return "\n".join([words, "", *rates_table(result)]).rstrip()


def goals_text(result):
    if not result["goals"]:
        return ""
    met = sum(goal["met"] for goal in result["goals"])
    return "\n".join(["%d of the project's %d goals are met (measured on %s):" % (
        met, len(result["goals"]), result["date"][:10]), "", *goals_table(result["goals"])]).rstrip()


# Document, below the project's folder -> its text.
DOCUMENTS = (("README.md", rates_text), (os.path.join("tests", "bench", "README.md"), goals_text))


def put(text, into):
    """The document with the text between its marks."""
    head, begin, rest = into.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError("no %s \u2026 %s in the document" % (BEGIN, END))
    return "%s%s\n%s%s%s" % (head, BEGIN, text + "\n" if text else "", END, tail)


def rewrite(top, json_path):
    with open(json_path, encoding="utf-8") as source:
        result = json.load(source)
    for name, text_of in DOCUMENTS:
        path = os.path.join(top, name)
        with open(path, encoding="utf-8") as source:
            changed = put(text_of(result), source.read())
        with open(path, "w", encoding="utf-8") as out:
            out.write(changed)
