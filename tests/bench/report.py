"""From samples to medians, ratios, a table and bench.json."""

import json
import statistics

CONTROLS = ("plain", "null", "gocryptfs", "sample", "curl", "disk", "bound", "openssl",
            "gcm-speed", "sha256-speed")


def values(row):
    return [sample["value"] for sample in row["samples"]]


def ratios(row, control):
    """One a round: what was measured right after each other, so that drift cancels out."""
    ours = {sample["round"]: sample["value"] for sample in row["samples"]}
    theirs = {sample["round"]: sample["value"] for sample in control["samples"]}
    return [ours[i] / theirs[i] for i in sorted(ours) if theirs.get(i)]


def spread(numbers):
    return {"median": statistics.median(numbers), "min": min(numbers), "max": max(numbers),
            "count": len(numbers)}


def median_of(row, key):
    found = [sample[key] for sample in row["samples"] if key in sample]
    return statistics.median(found) if found else None


def summarise(group):
    """Adds to each row of a group: value, ratios, cost."""
    rows = {row["subject"]: row for row in group["rows"]}
    for row in group["rows"]:
        if not row["samples"]:
            continue
        row["value"] = spread(values(row))
        for key in ("server_cpu_s_per_gb", "reader_cpu_s_per_gb", "foreign_cpu"):
            row[key] = median_of(row, key)
        peaks = [sample["peak_rss_mib"] for sample in row["samples"] if "peak_rss_mib" in sample]
        row["peak_rss_mib"] = max(peaks) if peaks else None
        row["ratios"] = {}
        for name in CONTROLS:
            if name != row["subject"] and rows.get(name, {}).get("samples"):
                found = ratios(row, rows[name])
                if found:
                    row["ratios"][name] = spread(found)


def judge(result, goals):
    """Each goal with what was reached; a goal that was not measured is left out."""
    groups = {group["name"]: {row["subject"]: row for row in group["rows"] if row["samples"]}
              for group in result["groups"]}
    judged = []
    for line, work, subject, against, relation, factor, *field in goals:
        row = groups.get(work, {}).get(subject)
        if not row:
            continue
        if not against:
            reached = row[field[0]] if field else row["value"]["median"]
        else:
            found = []
            for name in against:
                other_work, _, other = name.rpartition(":")
                if not other_work:
                    if name in row["ratios"]:
                        found.append(row["ratios"][name]["median"])
                elif groups.get(other_work, {}).get(other):
                    found.append(row["value"]["median"]
                                 / groups[other_work][other]["value"]["median"])
            if len(found) != len(against):
                continue
            reached = max(found)
        judged.append({
            "line": line, "work": work, "subject": subject, "against": against, "relation": relation,
            "factor": factor, "of": field[0] if field else "value", "reached": round(reached, 4),
            "met": reached >= factor if relation == ">=" else reached <= factor})
    return judged


def number(value, unit=""):
    if value is None:
        return "-"
    if value >= 1000:
        return "%.0f" % value
    if unit == "s" and value < 0.1:
        return "%.4f" % value
    return "%.2f" % value


def table_of(group):
    rows = [row for row in group["rows"] if row["samples"]]
    columns = [name for name in CONTROLS if any(name in row.get("ratios", {}) for row in rows)]
    head = ["", group["unit"], "min..max", *("x " + name for name in columns),
            "CPU s/GB", "reader", "RSS MiB", "others"]
    lines = [head]
    for row in group["rows"]:
        if not row["samples"]:
            lines.append([row["title"], row["error"] or "not measured"])
            continue
        value = row["value"]
        lines.append([
            row["title"] + (" (!)" if row["error"] else ""), number(value["median"], group["unit"]),
            "%s..%s" % (number(value["min"], group["unit"]), number(value["max"], group["unit"])),
            *(number(row["ratios"][name]["median"]) if name in row["ratios"] else
              ("1" if name == row["subject"] else "-") for name in columns),
            number(row["server_cpu_s_per_gb"]), number(row["reader_cpu_s_per_gb"]),
            "-" if row["peak_rss_mib"] is None else "%.0f" % row["peak_rss_mib"],
            "%.0f %%" % (100 * (row["foreign_cpu"] or 0))])
    widths = [max(len(line[i]) for line in lines if len(line) == len(head)) for i in range(len(head))]
    widths[0] = max(widths[0], *(len(line[0]) for line in lines))
    out = []
    for line in lines:
        if len(line) != len(head):
            out.append("  %s  %s" % (line[0].ljust(widths[0]), line[1].splitlines()[0]))
            continue
        out.append("  " + "  ".join([line[0].ljust(widths[0])] + [
            cell.rjust(width) for cell, width in zip(line[1:], widths[1:])]))
    return out


def text_of(group):
    title = "%s (%s, %s, %s%d MB, %d runs)" % (
        group["title"], group["name"], group["unit"], "", group["size_mb"], group["runs"])
    return "\n".join([title, *table_of(group), *(["  " + group["note"]] if group["note"] else [])])


def unit_of(goal):
    return {"value": " s", "peak_rss_mib": " MiB"}[goal["of"]]


def text_of_goals(judged):
    lines = ["goals"]
    for goal in judged:
        against = " or ".join(goal["against"])
        lines.append("  %-7s %-43s %s %s%s, reached %s" % (
            "met" if goal["met"] else "NOT MET", goal["line"],
            {">=": "at least", "<=": "at most"}[goal["relation"]], goal["factor"],
            " x " + against if against else unit_of(goal), number(goal["reached"], "s")))
    return "\n".join(lines)


def write_json(result, path):
    with open(path, "w", encoding="utf-8") as out:
        json.dump(result, out, indent=1, sort_keys=False)
        out.write("\n")
