"""bench.svg: bars of each work, as a ratio to one control. Readable on a light and a dark page."""

from xml.sax.saxutils import escape

WIDTH, LABEL_WIDTH, VALUE_WIDTH = 860, 250, 120
BAR, GAP, GROUP_GAP = 16, 4, 18

STYLE = """
  text { font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #1f2328; }
  .title { font-weight: 600; font-size: 15px; } .work { font-weight: 600; }
  .small { font-size: 11.5px; fill: #59636e; }
  .axis { stroke: #59636e; stroke-dasharray: 3 3; } .whisker { stroke: #1f2328; }
  .control { fill: #8c959f; } .ours { fill: #1a7f6b; } .open { fill: #57a89a; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .small { fill: #9198a1; } .axis { stroke: #9198a1; }
    .whisker { stroke: #e6edf3; } .control { fill: #656c76; } .ours { fill: #2fb598; }
    .open { fill: #1f7d69; }
  }
"""

# Panel: its control, its title, the works shown. One means as much as the control; the dashed line.
PANELS = (
    ("gocryptfs", "Reading a sealed model: times gocryptfs's rate",
     ("read", "mmap", "direct", "readers4", "random")),
    ("plain", "Reading it again: times the plain file's rate", ("again-read", "again-mmap")),
    ("curl", "Reading from S3: times the rate of parallel ranged GETs by curl", ("s3", "s3slow")),
    ("bound", "Sealing: times what the CPU can do at most", ("seal",)),
    ("plain", "Starting llama-server: times the plain file's time to the first token (less is better)",
     ("llama-mmap", "llama-none", "llama-dio")),
)
SHOWN = ("rclone", "gocryptfs", "null", "none", "declared", "verity", "verity-openssl", "verity-warmed", "sha384",
         "sample", "sealctl", "disk")


class Canvas:
    """Collects elements; y is where the next one goes."""

    def __init__(self):
        self.parts, self.y = [], 24

    def text(self, x, y, words, kind="", anchor="start"):
        self.parts.append('<text x="%.1f" y="%.1f" class="%s" text-anchor="%s">%s</text>' % (
            x, y, kind, anchor, escape(words)))

    def bar(self, x, y, width, kind):
        self.parts.append('<rect x="%.1f" y="%.1f" width="%.1f" height="%d" rx="2" class="%s"/>' % (
            x, y, max(width, 1), BAR, kind))

    def line(self, x1, y1, x2, y2, kind):
        self.parts.append('<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" class="%s"/>' % (
            x1, y1, x2, y2, kind))

    def write(self, path, title):
        with open(path, "w", encoding="utf-8") as out:
            out.write('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" '
                      'height="%d" role="img"><title>%s</title><style>%s</style>\n' % (
                          WIDTH, self.y, WIDTH, self.y, escape(title), STYLE))
            out.write("\n".join(self.parts) + "\n</svg>\n")


def bars_of(group, control):
    """(label, ratio spread, kind) of each subject that has a ratio to the control."""
    found = []
    for row in group["rows"]:
        name = row["subject"].removeprefix("s3slow-").removeprefix("s3-")
        ratio = row.get("ratios", {}).get(control)
        if ratio and name in SHOWN and row["subject"] != control:
            found.append((row["title"], ratio, "control" if row["control"] else
                          "open" if name == "none" else "ours"))
    return found


def panel(canvas, result, control, title, works):
    groups = [group for group in result["groups"] if group["name"] in works]
    shown = [(group, bars_of(group, control)) for group in groups]
    shown = [(group, bars) for group, bars in shown if any(kind != "control" for _, _, kind in bars)]
    if not shown:
        return
    longest = max(ratio["max"] for _, bars in shown for _, ratio, _ in bars)
    scale = (WIDTH - LABEL_WIDTH - VALUE_WIDTH) / max(longest, 1.0)
    one = LABEL_WIDTH + scale
    canvas.text(12, canvas.y, title, "title")
    canvas.y += 20
    for group, bars in shown:
        canvas.text(12, canvas.y + 6, group["title"], "work")
        canvas.y += 14
        top, behind = canvas.y, len(canvas.parts)
        for label, ratio, kind in bars:
            canvas.text(LABEL_WIDTH - 8, canvas.y + BAR - 4, label, "small", "end")
            canvas.bar(LABEL_WIDTH, canvas.y, ratio["median"] * scale, kind)
            middle = canvas.y + BAR / 2
            if ratio["count"] > 1:
                canvas.line(LABEL_WIDTH + ratio["min"] * scale, middle,
                            LABEL_WIDTH + ratio["max"] * scale, middle, "whisker")
            canvas.text(LABEL_WIDTH + ratio["max"] * scale + 6, canvas.y + BAR - 4,
                        "%.2f \u00d7" % ratio["median"], "small")
            canvas.y += BAR + GAP
        canvas.line(one, top - 2, one, canvas.y, "axis")
        canvas.parts.insert(behind, canvas.parts.pop())  # numbers are written over it
        canvas.y += GROUP_GAP
    canvas.y += 10


def draw(result, path):
    canvas = Canvas()
    for control, title, works in PANELS:
        panel(canvas, result, control, title, works)
    about = result["machine"]
    canvas.text(12, canvas.y, "%d cores, %s, kernel %s, %s; medians of %d runs, thin lines from least "
                "to most." % (about["cpus"], about["system"], about["kernel"],
                              " ".join((about["openssl"] or "").split()[:2]), result["runs"]), "small")
    canvas.y += 16
    canvas.write(path, "sealedfs against what else one could mount")
