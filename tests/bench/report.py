"""The figures of all rounds: as a table for people, as TSV, and as a picture."""

from math import isinf
from statistics import median
from xml.sax.saxutils import escape

DELAY = "delay"  # the row of what is no job: from a write() to what can be read on the replica

def human(n):
    for unit in ("B", "KiB", "MiB", "GiB"):
        if n < 1024 or unit == "GiB":
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1024


class Table:
    def __init__(self, limit):
        self.limit = limit
        self.rows = {}  # job -> system -> figure -> values of the rounds

    def add(self, job, system, row):
        for figure, value in row.items():
            self.rows.setdefault(job, {}).setdefault(system, {}).setdefault(figure, []).append(value)

    def middle(self, job, system, figure):
        values = self.rows.get(job, {}).get(system, {}).get(figure)
        return median(values) if values else None

    def seconds(self, value):
        if value is None:
            return "-"
        return f"not within {self.limit:g} s" if isinf(value) else f"{value:.3f}"

    def text(self):
        heads = ("job", "system", "writer s", "x bare", "identical s", "x bare", "wire", "CPU s of the daemons", "peak MiB")
        lines = [heads]
        for job in self.rows:
            bare = self.middle(job, "bare", "writer")
            for system in self.rows[job]:
                if job == DELAY:
                    continue
                get = lambda figure: self.middle(job, system, figure)
                times = lambda v: f"{v / bare:.2f}" if v and bare and not isinf(v) else "-"
                names = [f[4:] for f in self.rows[job][system] if f.startswith("cpu ")]
                lines.append((
                    job, system, self.seconds(get("writer")), times(get("writer")),
                    self.seconds(get("identical")), times(get("identical")),
                    human(get("wire")) if get("wire") is not None else "-",
                    " ".join(f"{n} {get('cpu ' + n):.2f}" for n in names) or "-",
                    " ".join(f"{get('peak ' + n):.0f}" for n in names) or "-",
                ))
        widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
        out = ["  ".join(cell.ljust(w) for cell, w in zip(line, widths)).rstrip() for line in lines]
        for system in self.rows.get(DELAY, {}):
            out.append(f"from write() to visible on the replica, {system}: median {self.middle(DELAY, system, 'median us'):.0f} us, "
                       f"p99 {self.middle(DELAY, system, 'p99 us'):.0f} us")
        return "\n".join(out)

    def write_tsv(self, path):
        with open(path, "w") as f:
            f.write("job\tsystem\tfigure\tmedian\tleast\tmost\trounds\n")
            for job, by_system in self.rows.items():
                for system, figures in by_system.items():
                    for figure, v in figures.items():
                        f.write(f"{job}\t{system}\t{figure}\t{median(v):.6g}\t{min(v):.6g}\t{max(v):.6g}\t{len(v)}\n")

    def write_svg(self, path):
        """Bars: how many times as long as on the bare directory the writer took (dark), and all replicas (light); inf: not within
        the limit."""
        bars = []
        for job in self.rows:
            bare = self.middle(job, "bare", "writer")
            for system in self.rows[job]:
                writer = self.middle(job, system, "writer")
                if not bare or not writer or system == "bare":
                    continue
                identical = self.middle(job, system, "identical") or writer
                bars.append((f"{job}: {system}", writer / bare, identical / bare))
        left, width, row, most = 330, 520, 18, 20.0  # longer bars are cut at `most`
        x = lambda v: left + width * min(v, most) / most
        out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 90}" height="{row * (len(bars) + 2)}" '
               'font-family="sans-serif" font-size="11">',
               '<text x="10" y="14">times the bare directory: writer (dark), until the replicas are identical (light)</text>']
        for i, (label, writer, identical) in enumerate(bars):
            y = row * (i + 1) + 8
            out.append(f'<text x="{left - 6}" y="{y + 10}" text-anchor="end">{escape(label)}</text>')
            for value, colour in ((identical, "#9ecae1"), (writer, "#3182bd")):
                out.append(f'<rect x="{left}" y="{y}" width="{x(value) - left:.1f}" height="{row - 5}" fill="{colour}"/>')
            out.append(f'<text x="{x(identical) + 5:.1f}" y="{y + 10}">{writer:.1f} / {identical:.1f}</text>')
        out.append(f'<line x1="{x(1):.1f}" x2="{x(1):.1f}" y1="{row}" y2="{row * (len(bars) + 1) + 8}" stroke="#888"/></svg>')
        with open(path, "w") as f:
            f.write("\n".join(out) + "\n")
