"""What the figures say: medians, the table, and the ratios against the best peer and the kernel's VXLAN of the same run."""

import statistics
from dataclasses import dataclass


@dataclass
class Measure:
    """A figure of the table."""

    name: str
    title: str
    digits: int


THROUGHPUT = [
    Measure("tcp1_gbps", "TCP ×1 Gbit/s", 2),
    Measure("tcp4_gbps", "TCP ×4 Gbit/s", 2),
    Measure("reverse_gbps", "TCP reverse Gbit/s", 2),
    Measure("tcp1_cpu_s_per_gb", "daemons s/GB", 2),
    Measure("tcp4_cpu_s_per_gb", "daemons s/GB, ×4", 2),
    Measure("tcp1_machine_s_per_gb", "machine s/GB", 2),
]
PACKETS = [
    Measure("udp64_kpps", "UDP 64 B, < 1 % loss, k/s", 0),
    Measure("udp64_flat_out_kpps", "flat out", 0),
    Measure("udp1400_kpps", "UDP 1400 B, < 1 % loss, k/s", 0),
    Measure("udp1400_flat_out_kpps", "flat out", 0),
    Measure("loss01_gbps", "TCP at 0.1 % loss Gbit/s", 2),
    Measure("loss1_gbps", "TCP at 1 % loss Gbit/s", 3),
    Measure("jumbo1_gbps", "TCP ×1, underlay 9000, Gbit/s", 2),
    Measure("jumbo4_gbps", "TCP ×4, underlay 9000, Gbit/s", 2),
]
LATENCY = [
    Measure("ping_mean_us", "ping µs mean", 0),
    Measure("ping_p50_us", "median", 0),
    Measure("ping_p99_us", "p99", 0),
    Measure("loaded_mean_us", "loaded µs mean", 0),
    Measure("loaded_p99_us", "p99", 0),
    Measure("start_ms", "start → first ping ms", 0),
    Measure("rss_peak_mib", "peak RSS MiB", 1),
    Measure("idle_cpu_percent", "idle CPU % of a core", 2),
    Measure("idle_rss_mib", "idle RSS MiB", 1),
    Measure("foreign_cores", "foreign cores", 2),
]
ABLATION = [
    *(each for each in THROUGHPUT if each.name.startswith("tcp")),
    *(each for each in LATENCY if each.name.startswith(("ping", "foreign"))),
]
TABLES = {"Throughput": THROUGHPUT, "Packets, loss, jumbo frames": PACKETS, "Latency, start, memory, idle": LATENCY}


def medians(rounds, idle):
    """For each system and figure: the median, the least and the greatest of its rounds."""
    summary = {}
    for row in rounds:
        for name, value in row["figures"].items():
            if value is not None:
                summary.setdefault(row["system"], {}).setdefault(name, []).append(value)
    for system, figures in idle.items():
        for name, value in figures.items():
            summary.setdefault(system, {})[name] = [value]
    return {
        system: {
            name: {"median": statistics.median(values), "min": min(values), "max": max(values), "rounds": len(values)}
            for name, values in figures.items()
        }
        for system, figures in summary.items()
    }


def tables(summary, systems):
    """The tables in Markdown, which is readable on a terminal too."""
    return "\n".join(table(title, measures, summary, systems) for title, measures in TABLES.items())


def table(title, measures, summary, systems):
    """One table: a row for each system, a column for each measure that any of them has."""
    shown = [each for each in measures if any(each.name in summary.get(system, {}) for system in systems)]
    if not shown:
        return ""
    lines = ["", f"### {title}", "", f"| | {' | '.join(each.title for each in shown)} |", "|---" * (len(shown) + 1) + "|"]
    for system in (system for system in systems if system in summary):
        cells = [cell(summary[system].get(each.name), each.digits) for each in shown]
        lines.append(f"| {system} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(figure, digits):
    if figure is None:
        return "–"
    text = f"{figure['median']:.{digits}f}"
    if figure["rounds"] == 1:
        return text
    return f"{text} ({figure['min']:.{digits}f}–{figure['max']:.{digits}f})"


@dataclass
class Target:
    """What a figure of Raddle must be, as a factor of another's or as a number."""

    title: str
    figure: str
    # "peer": the best encrypted peer of the run; "vxlan"; "own": `reference` of Raddle itself; "number": `factor` alone.
    against: str
    factor: float
    # Whether more is better.
    rises: bool = True
    reference: str = ""
    system: str = "raddle"


TARGETS = [
    Target("TCP ×1", "tcp1_gbps", "peer", 5.5),
    Target("TCP ×1", "tcp1_gbps", "vxlan", 0.5),
    Target("TCP ×4", "tcp4_gbps", "peer", 5.5),
    Target("TCP ×4", "tcp4_gbps", "vxlan", 0.5),
    Target("TCP reverse", "reverse_gbps", "peer", 5.5),
    Target("TCP reverse", "reverse_gbps", "vxlan", 0.5),
    Target("CPU s/GB, AES-256-GCM", "tcp1_cpu_s_per_gb", "number", 1.0, rises=False),
    Target("CPU s/GB, AES-256-GCM", "tcp1_cpu_s_per_gb", "peer", 1.0, rises=False),
    Target("CPU s/GB, ChaCha20-Poly1305", "tcp1_cpu_s_per_gb", "number", 2.0, rises=False, system="raddle-chacha"),
    Target("UDP 64 B", "udp64_kpps", "peer", 1.4),
    Target("UDP 1400 B", "udp1400_kpps", "peer", 1.5),
    Target("ping idle mean", "ping_mean_us", "peer", 1.0, rises=False),
    Target("ping idle mean", "ping_mean_us", "number", 40, rises=False),
    Target("ping idle p99", "ping_p99_us", "peer", 1.0, rises=False),
    Target("ping loaded mean", "loaded_mean_us", "peer", 1.0, rises=False),
    Target("ping loaded p99", "loaded_p99_us", "peer", 1.0, rises=False),
    Target("TCP at 0.1 % loss", "loss01_gbps", "peer", 1.0),
    Target("TCP at 1 % loss", "loss1_gbps", "peer", 1.0),
    Target("TCP ×1, underlay 9000", "jumbo1_gbps", "own", 1.0, reference="tcp1_gbps"),
    Target("idle CPU % of a core", "idle_cpu_percent", "number", 0.3, rises=False),
    Target("idle RSS MiB", "idle_rss_mib", "number", 25, rises=False),
]


def ratios(summary, peers):
    """Each target with what it was measured against. Targets without a figure on both sides are left out."""
    rows = []
    for target in TARGETS:
        own = median(summary, target.system, target.figure)
        rival, reference = rival_of(target, summary, peers)
        if own is None or reference is None:
            continue
        bound = reference * target.factor
        rows.append(
            {
                "target": target.title,
                "figure": own,
                "against": rival,
                "reference": reference,
                "ratio": own / reference if reference else None,
                "wanted": f"{'≥' if target.rises else '≤'} {target.factor:g}" + ("" if rival == "number" else " ×"),
                "met": own >= bound if target.rises else own <= bound,
            }
        )
    return rows


def rival_of(target, summary, peers):
    """Whom a target is measured against, and the figure to multiply by its factor."""
    if target.against == "number":
        return "number", 1.0
    if target.against == "own":
        return f"{target.reference} of raddle", median(summary, target.system, target.reference)
    if target.against == "vxlan":
        return "vxlan", median(summary, "vxlan", target.figure)
    known = [(value, peer) for peer in peers if (value := median(summary, peer, target.figure)) is not None]
    value, peer = (max if target.rises else min)(known, default=(None, None))
    return peer, value


def median(summary, system, name):
    figure = summary.get(system, {}).get(name)
    return figure["median"] if figure else None


def ratio_table(rows):
    lines = ["", "### Raddle against the best of the run", "", "| | Raddle | against | its figure | ratio | wanted | met |"]
    lines.append("|---" * 7 + "|")
    for row in rows:
        is_number = row["against"] == "number"
        against = "–" if is_number else row["against"]
        reference = "–" if is_number else f"{row['reference']:.3g}"
        ratio = "–" if is_number or row["ratio"] is None else f"{row['ratio']:.2f}"
        met = "yes" if row["met"] else "**no**"
        lines.append(
            f"| {row['target']} | {row['figure']:.3g} | {against} | {reference} | {ratio} | {row['wanted']} | {met} |"
        )
    return "\n".join(lines)
