"""Raddle beside its peers: container to container, all systems in turn, round after round, on this machine.

  scripts/bench peers                          3 rounds of everything: tables of medians, and Raddle's ratios
  scripts/bench peers --quick                  one short round, under 3 minutes
  scripts/bench peers --with-cargo-peers       boringtun and gotatun too; cargo builds them first
  scripts/bench peers --output json            the same as one JSON object on stdout
  scripts/bench peers --write                  also puts the tables, all figures and the plots into docs/performance.md
                                               and beside it; so do --ablation --write and --profile --write
"""

import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True

import ablation
import accounts
import document
import install
import lab
import measures
import plot
import profile_raddle
import report
import systems

PARTS = {"1500": measures.at_1500, "loss": measures.under_loss, "9000": measures.at_9000}


def parse():
    parser = argparse.ArgumentParser(
        prog="scripts/bench peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--rounds", type=int, metavar="N", help="how many rounds [default: 3, or 1 with --quick]")
    parser.add_argument("--seconds", type=int, metavar="S", help="how long each TCP stream runs [default: 3]")
    parser.add_argument("--patience", type=int, metavar="S", help="how long to wait for a quiet machine [default: 30]")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    parser.add_argument("--with-cargo-peers", action="store_true", help="also boringtun and gotatun")
    parser.add_argument("--systems", metavar="NAME,…", help="only these; see --list")
    parser.add_argument("--parts", metavar="NAME,…", help=f"only these of {','.join([*PARTS, 'idle'])}")
    parser.add_argument("--ablation", action="store_true", help="measure what each technique is worth, nothing else")
    parser.add_argument("--profile", action="store_true", help="where Raddle spends its time, nothing else; needs perf")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/performance.md and beside it")
    parser.add_argument("--list", action="store_true", help="print the systems and what they lack")
    return parser.parse_args()


def main():
    arguments = parse()
    if os.geteuid():
        sys.exit("bench: needs root: it makes network namespaces and bridges")
    if lab.INSIDE not in os.environ:
        install.debian()
        if arguments.with_cargo_peers:
            install.cargo()
        sys.exit(lab.enter(sys.argv))
    # The process outside answers to the terminal, and takes everything here with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    install.extend_path()
    scratch = lab.settle_in()
    catalogue = systems.catalogue(scratch)
    if arguments.list:
        for system in catalogue.values():
            print(f"{system.name:16} {', '.join(system.missing()) or 'ready'}")
        return
    if arguments.profile:
        return publish_profile(catalogue, scratch, arguments)
    chosen, left_out = choose(catalogue, arguments)
    run = Run(chosen, left_out, depth_of(arguments), scratch)
    rounds = range(1, 1 + (arguments.rounds or (1 if arguments.quick else 3)))
    if arguments.ablation:
        for number in rounds:
            run.ablations(number, catalogue)
    else:
        wanted = arguments.parts.split(",") if arguments.parts else [*PARTS, "idle"]
        for number in rounds:
            run.round(number, [part for part in PARTS if part in wanted])
        if "idle" in wanted:
            run.idle()
    publish(run, arguments)


def depth_of(arguments):
    depth = measures.QUICK if arguments.quick else measures.Depth()
    if arguments.seconds:
        depth.tcp_s = depth.loss_s = depth.jumbo_s = arguments.seconds
    if arguments.patience is not None:
        depth.patience_s = arguments.patience
    return depth


def choose(catalogue, arguments):
    """The systems to measure, and those that cannot run with what they lack."""
    names = arguments.systems.split(",") if arguments.systems else list(systems.DEBIAN)
    if arguments.with_cargo_peers and not arguments.systems:
        names += systems.CARGO
    chosen, left_out = [], []
    for name in names:
        if name not in catalogue:
            sys.exit(f"bench: no system is called {name}; see --list")
        missing = catalogue[name].missing()
        if missing:
            say(f"{name} is left out: there is no {', '.join(missing)}")
            left_out.append({"system": name, "missing": missing})
        else:
            chosen.append(catalogue[name])
    return chosen, left_out


class Run:
    """Everything that was measured so far."""

    def __init__(self, chosen, left_out, depth, scratch):
        self.systems, self.left_out, self.depth, self.scratch = chosen, left_out, depth, scratch
        self.rounds, self.idle_figures, self.failures = [], {}, []

    def round(self, number, parts):
        """All systems in turn, one part after the other: what disturbs the machine for a while disturbs all alike."""
        for part in parts:
            for system in self.systems:
                if part != "9000" or system.largest_underlay_mtu >= 9000:
                    self.measure(number, system.name, part, PARTS[part], system)

    def ablations(self, number, catalogue):
        """Raddle with each technique taken away in turn."""
        for row in ablation.ABLATIONS:
            if not catalogue[row.system].missing():
                self.measure(number, row.name, "ablation", ablation.measure, row, catalogue[row.system])

    def measure(self, number, name, part, measure, *what):
        """Waits for quiet, measures, and keeps the figures."""
        waited_s = accounts.wait_for_quiet(self.depth.patience_s)
        begun = time.monotonic()
        figures = self.attempt(name, part, lambda: measure(*what, self.scratch, self.depth))
        if figures:
            self.rounds.append({"system": name, "round": number, "part": part, "figures": figures})
            shown = " ".join(f"{key}={value:.3g}" for key, value in figures.items() if value is not None)
            took_s = time.monotonic() - begun
            say(f"round {number}, {name}, {part} ({took_s:.0f} s after {waited_s:.0f} s): {shown}")

    def idle(self):
        daemons = [system for system in self.systems if system.name not in ("raw", "vxlan")]
        self.idle_figures = self.attempt("all", "idle", lambda: measures.idle(daemons, self.scratch, self.depth)) or {}

    def attempt(self, system, part, measure):
        try:
            return measure()
        except (lab.Failure, OSError, ValueError, subprocess.SubprocessError) as failure:
            self.failures.append({"system": system, "part": part, "failure": str(failure)})
            say(f"{system}, {part}: {failure}")
            return None

    def result(self):
        names = [system.name for system in self.systems]
        summary = report.medians(self.rounds, self.idle_figures)
        encrypted = [system.name for system in self.systems if system.is_encrypted_peer]
        return {
            "machine": machine(),
            "depth": vars(self.depth),
            "systems": names,
            "left_out": self.left_out,
            "medians": summary,
            "ratios": report.ratios(summary, encrypted),
            "rounds": self.rounds,
            "failures": self.failures,
        }


def machine():
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "processor": model.group(1) if model else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "build": build(),
    }


def build():
    """Of what Raddle was built, as far as there is a repository to say it. The page itself may have changed since."""
    git = ["git", "-C", str(systems.ROOT)]
    try:
        commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
        changed = subprocess.run([*git, "status", "--porcelain", ":!docs"], capture_output=True, text=True).stdout
    except OSError:
        commit = changed = ""
    return f"commit {commit or 'unknown'}{' with changes' if changed else ''}"


def publish(run, arguments):
    result = run.result()
    about = f"{rounds_words(run)}; {machine_words(result)}; {result['machine']['date']}; {result['machine']['build']}"
    names = [row.name for row in ablation.ABLATIONS]
    techniques = report.table("Ablation", report.ABLATION, result["medians"], names)
    tables, targets = report.tables(result["medians"], result["systems"]), report.ratio_table(result["ratios"])
    if arguments.write and arguments.ablation:
        document.keep("ablation", result)
        document.fill("ablation", f"{about}.\n\n{document.without_heading(techniques)}")
    elif arguments.write:
        document.keep("peers", result)
        document.fill("about", f"{about}.")
        document.fill("results", tables)
        document.fill("targets", document.without_heading(targets))
        subtitle = f"{rounds_words(run)}; underlay 1500; {machine_words(result)}"
        plot.write(document.FIGURES, result["medians"], result["systems"], subtitle)
    if arguments.output == "json":
        print(json.dumps(result))
    else:
        print(about)
        print(techniques if arguments.ablation else f"{tables}\n{targets}")
        for failure in run.failures:
            print(f"\n{failure['system']}, {failure['part']}: {failure['failure']}")
    if run.failures:
        failed = sorted({f"{failure['system']} ({failure['part']})" for failure in run.failures})
        # Whoever failed is not among those that Raddle is compared with: the ratios may be better than they should.
        sys.exit(f"bench: these could not be measured, and the ratios leave them out: {', '.join(failed)}")


def publish_profile(catalogue, scratch, arguments):
    depth = measures.Depth()
    profile = profile_raddle.profile(catalogue["raddle"], scratch, depth)
    systems_by_queues = {"two queues": "raddle", "one queue": "raddle-1-queue"}
    rows = {words: profile_raddle.sharing(catalogue[name], scratch, depth) for words, name in systems_by_queues.items()}
    tables = profile_raddle.table(profile), profile_raddle.sharing_table(rows)
    if arguments.write:
        document.keep("profile", {**profile, "sharing": rows})
        about = f"{profile['samples']} samples, {profile['cpu_s_per_gb']:.2f} s/GB, {build()}."
        document.fill("profile", f"{about}\n\n{document.without_heading(tables[0])}")
        document.fill("sharing", document.without_heading(tables[1]))
    print(json.dumps({**profile, "sharing": rows}) if arguments.output == "json" else "\n".join(tables))


def rounds_words(run):
    rounds = max((row["round"] for row in run.rounds), default=0)
    return "One round" if rounds == 1 else f"Medians of {rounds} rounds, the least and the greatest in brackets"


def machine_words(result):
    about = result["machine"]
    return f"{about['cores']} cores of {about['processor']}, Linux {about['kernel']}"


def say(words):
    print(f"bench: {words}", file=sys.stderr, flush=True)


main()
