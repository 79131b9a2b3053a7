"""Bar charts as SVG, written by hand: no library is needed to look at a run."""

from html import escape
from pathlib import Path

WIDTH, LABELS, VALUES, TOP, FOOT = 820, 150, 120, 64, 44
BAR, GAP, GROUP_GAP = 13, 2, 12
INK, FAINT, GRID = "#1f2933", "#616e7c", "#d9dee4"
# Readable for colour-blind people, and distinct in grey.
SERIES = ("#0b6e99", "#6fb7d6", "#f0a202")
FONT = "font-family='Helvetica, Arial, sans-serif'"


def write(directory, summary, systems, subtitle):
    """Draws throughput and processor time of every system that has them."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    throughput = [("tcp1_gbps", "one stream"), ("tcp4_gbps", "four streams"), ("reverse_gbps", "one stream, reverse")]
    cpu = [("tcp1_cpu_s_per_gb", "one stream"), ("tcp4_cpu_s_per_gb", "four streams")]
    title = "TCP from container to container, Gbit/s"
    (directory / "throughput.svg").write_text(chart(title, subtitle, summary, systems, throughput, 1))
    title = "Processor time of both daemons for each GB moved, seconds (less is better)"
    (directory / "cpu.svg").write_text(chart(title, subtitle, summary, systems, cpu, 2))


def chart(title, subtitle, summary, systems, series, digits):
    """Groups of horizontal bars, one for each series, each with a whisker from the least to the greatest round."""
    shown = [system for system in systems if all(name in summary.get(system, {}) for name, _ in series)]
    highest = max((summary[system][name]["max"] for system in shown for name, _ in series), default=1)
    group = len(series) * (BAR + GAP) + GROUP_GAP
    height = TOP + group * len(shown) + FOOT
    scale = (WIDTH - LABELS - VALUES) / highest
    parts = [head(title, subtitle, height), axis(highest, scale, height - FOOT), legend(series, height)]
    for row, system in enumerate(shown):
        top = TOP + row * group
        weight = "bold" if system.startswith("raddle") else "normal"
        middle = top + len(series) * (BAR + GAP) / 2 + 4
        parts.append(text(LABELS - 10, middle, system, "end", INK, 13, weight))
        for index, (name, _) in enumerate(series):
            parts.append(bar(top + index * (BAR + GAP), summary[system][name], scale, SERIES[index], digits))
    return "\n".join([*parts, "</svg>", ""])


def head(title, subtitle, height):
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{height}' viewBox='0 0 {WIDTH} {height}' {FONT}>\n"
        f"<title>{escape(title)}</title>\n<rect width='100%' height='100%' fill='#ffffff'/>\n"
        + text(12, 24, title, "start", INK, 16, "bold")
        + "\n"
        + text(12, 43, subtitle, "start", FAINT, 12)
    )


def axis(highest, scale, bottom):
    lines, step = [], step_for(highest)
    value = 0
    while value <= highest:
        x = LABELS + value * scale
        lines.append(f"<line x1='{x:.1f}' y1='{TOP - 6}' x2='{x:.1f}' y2='{bottom}' stroke='{GRID}'/>")
        lines.append(text(x, bottom + 14, f"{value:g}", "middle", FAINT, 11))
        value += step
    return "\n".join(lines)


def step_for(highest):
    """About six round steps."""
    for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50):
        if highest / step <= 8:
            return step
    return 100


def legend(series, height):
    parts, x = [], LABELS
    for colour, (_, label) in zip(SERIES, series):
        parts.append(f"<rect x='{x}' y='{height - 18}' width='11' height='11' fill='{colour}'/>")
        parts.append(text(x + 16, height - 8, label, "start", INK, 12))
        x += 36 + 7 * len(label)
    return "\n".join(parts)


def bar(top, figure, scale, colour, digits):
    middle, length = top + BAR / 2, figure["median"] * scale
    parts = [f"<rect x='{LABELS}' y='{top}' width='{length:.1f}' height='{BAR}' fill='{colour}'/>"]
    end = LABELS + length
    if figure["rounds"] > 1:
        least, greatest = (LABELS + figure[name] * scale for name in ("min", "max"))
        parts.append(f"<path d='M{least:.1f} {middle}H{greatest:.1f}' stroke='{INK}' stroke-width='1.5'/>")
        end = max(end, greatest)
    parts.append(text(end + 6, middle + 4, f"{figure['median']:.{digits}f}", "start", INK, 11))
    return "\n".join(parts)


def text(x, y, words, anchor, colour, size, weight="normal"):
    style = f"text-anchor='{anchor}' fill='{colour}' font-size='{size}' font-weight='{weight}'"
    return f"<text x='{x:.1f}' y='{y:.1f}' {style}>{escape(words)}</text>"
