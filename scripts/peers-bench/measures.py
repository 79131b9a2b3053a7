"""How a system is measured. Each function takes a lab whose containers reach one another and returns figures by name."""

import json
import math
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import accounts
from lab import Failure, Lab, run


@dataclass
class Depth:
    """How much of everything is done."""

    # Before the first stream that counts: for key exchange, path discovery and garbage collectors. 0: none.
    warm_s: int = 1
    tcp_s: int = 3
    pings: int = 2000
    loaded_pings: int = 400
    probe_s: float = 0.3
    probes: int = 5
    loss_s: int = 3
    jumbo_s: int = 2
    # The work of coming up is not idleness.
    settle_s: int = 4
    idle_s: int = 15
    patience_s: int = 30


QUICK = Depth(
    warm_s=0,
    tcp_s=1,
    pings=250,
    loaded_pings=100,
    probe_s=0.2,
    probes=1,
    loss_s=1,
    jumbo_s=1,
    settle_s=1,
    idle_s=3,
    patience_s=0,
)


def at_1500(system, scratch, depth):
    """Everything that is measured on the common underlay, in one bring-up but for loss."""
    figures = {}
    with Lab(scratch, 1500) as lab:
        foreign = accounts.Foreign()
        figures["start_ms"] = bring_up(system, lab)
        figures["container_mtu"] = container_mtu(lab)
        serve(lab)
        figures.update(ping_figures("ping", ping(lab, depth.pings, 0.001)))
        warm(lab, depth)
        figures.update(tcp_figures("tcp1", tcp(lab, depth.tcp_s)))
        figures.update(tcp_figures("tcp4", tcp(lab, depth.tcp_s, "--parallel", "4")))
        figures.update(tcp_figures("reverse", tcp(lab, depth.tcp_s, "--reverse")))
        figures.update(ping_figures("loaded", loaded_ping(lab, depth)))
        if daemons := lab.daemons():
            figures["rss_peak_mib"] = max(accounts.memory_mib(pid, "VmHWM") for pid in daemons)
        for size in (64, 1400):
            figures.update(udp(lab, scratch, size, figures["container_mtu"], depth))
        figures["foreign_cores"] = foreign.cores()
    return figures


def under_loss(system, scratch, depth):
    """One TCP stream while single datagrams are dropped at random, both ways."""
    figures = {}
    with Lab(scratch, 1500) as lab:
        foreign = accounts.Foreign()
        bring_up(system, lab)
        serve(lab)
        lab.cut_single()
        for name, per_myriad in (("loss01", 10), ("loss1", 100)):
            lab.lose(per_myriad)
            figures[f"{name}_gbps"] = tcp(lab, depth.loss_s)["gbps"]
        figures["loss_foreign_cores"] = foreign.cores()
    return figures


def at_9000(system, scratch, depth):
    """TCP on an underlay with jumbo frames."""
    with Lab(scratch, 9000) as lab:
        foreign = accounts.Foreign()
        bring_up(system, lab)
        serve(lab)
        warm(lab, depth)
        one, four = tcp(lab, depth.jumbo_s), tcp(lab, depth.jumbo_s, "--parallel", "4")
        figures = {"jumbo1_gbps": one["gbps"], "jumbo4_gbps": four["gbps"], "jumbo1_cpu_s_per_gb": one["cpu_s_per_gb"]}
        figures["jumbo_foreign_cores"] = foreign.cores()
    return figures


def idle(systems, scratch, depth):
    """What the daemons of all systems use while nobody talks, all at the same time, each in a lab of its own."""
    labs, figures = {}, {}
    try:
        for system in systems:
            labs[system.name] = lab = Lab(scratch, 1500)
            lab.build()
            try:
                bring_up(system, lab)
            except Failure:
                # Said when it was measured; the others are still worth it.
                labs.pop(system.name).close()
        time.sleep(depth.settle_s)
        before = {name: accounts.run_seconds(lab.daemons()) for name, lab in labs.items()}
        time.sleep(depth.idle_s)
        for name, lab in labs.items():
            used = accounts.run_seconds(lab.daemons()) - before[name]
            figures[name] = {
                "idle_cpu_percent": 100 * used / depth.idle_s / len(lab.daemons()),
                "idle_rss_mib": max(accounts.memory_mib(pid, "VmRSS") for pid in lab.daemons()),
            }
    finally:
        for lab in labs.values():
            lab.close()
    return figures


def bring_up(system, lab):
    """Starts a system; returns the milliseconds from the start of side A to the first answer to a ping."""
    system.prepare(lab)
    system.start(lab.b)
    time.sleep(BETWEEN_SIDES_S)
    begun = time.monotonic()
    system.start(lab.a)
    lab.wait_for_ping()
    return 1000 * (time.monotonic() - begun)


def container_mtu(lab):
    return json.loads(run(["ip", "-json", "-n", lab.a.container, "link", "show", "eth0"]).stdout)[0]["mtu"]


def serve(lab):
    lab.start(lab.b.container, ["iperf3", "--server"])
    time.sleep(BETWEEN_SIDES_S)


def warm(lab, depth):
    if depth.warm_s:
        tcp(lab, depth.warm_s)


def tcp(lab, seconds, *words):
    """One run of iperf3 from A to B, with the daemons' processor time for each GB received."""
    client = ["iperf3", "--json", "--client", lab.b.address, "--time", str(seconds), "--connect-timeout", "3000"]
    daemons, busy = accounts.cpu_seconds(lab.daemons()), accounts.machine_busy_seconds()
    done = lab.a.in_container(*client, *words, check=False, timeout=seconds + 25)
    daemons, busy = accounts.cpu_seconds(lab.daemons()) - daemons, accounts.machine_busy_seconds() - busy
    try:
        received = json.loads(done.stdout)["end"]["sum_received"]
    except (ValueError, KeyError):
        raise Failure(f"iperf3: {done.stdout[-300:]} {done.stderr[-300:]}") from None
    gigabytes = received["bytes"] / 1e9
    per_gb = (lambda used: used / gigabytes) if gigabytes else (lambda used: None)
    return {
        "gbps": received["bits_per_second"] / 1e9,
        "cpu_s_per_gb": per_gb(daemons) if lab.daemons() else None,
        "machine_s_per_gb": per_gb(busy),
    }


def tcp_figures(name, measured):
    return {f"{name}_{key}": value for key, value in measured.items()}


def ping(lab, count, interval_s):
    """Round trips in microseconds, in ascending order."""
    words = ["ping", "-n", "-i", str(interval_s), "-c", str(count), "-W", "1", lab.b.address]
    said = lab.a.in_container(*words, check=False).stdout
    return sorted(1000 * float(time_ms) for time_ms in re.findall(r"time=([\d.]+) ms", said))


def loaded_ping(lab, depth):
    """Pings beside one TCP stream of the same direction."""
    seconds = math.ceil(depth.loaded_pings * LOADED_INTERVAL_S + 1)
    load = lab.start(lab.a.container, ["iperf3", "--client", lab.b.address, "--time", str(seconds)])
    time.sleep(0.7)
    times = ping(lab, depth.loaded_pings, LOADED_INTERVAL_S)
    load.wait(20 + seconds)
    return times


def ping_figures(name, times):
    if not times:
        raise Failure("no answer to a ping")
    return {
        f"{name}_mean_us": sum(times) / len(times),
        f"{name}_p50_us": times[len(times) // 2],
        f"{name}_p99_us": times[len(times) * 99 // 100],
    }


def udp(lab, scratch, size, mtu, depth):
    """The highest rate at which less than 1 % is lost, and what arrives when the sender goes flat out. In 1000 a second."""
    # Behind an IPv4 and a UDP header; a larger one would go as two packets.
    payload = min(size, mtu - 28)
    offered, flat_out, loss = udp_probe(lab, scratch, payload, 0, depth.probe_s)
    best = flat_out if loss < TOLERATED_LOSS else 0
    low, high = flat_out / 2, offered
    for _ in range(0 if best else depth.probes):
        rate = math.sqrt(low * high)
        _, arrived, loss = udp_probe(lab, scratch, payload, rate, depth.probe_s)
        if loss >= TOLERATED_LOSS:
            # Once more: a stranger may have had the processor.
            _, arrived, loss = udp_probe(lab, scratch, payload, rate, depth.probe_s)
        if loss < TOLERATED_LOSS:
            best, low = max(best, arrived), rate
        else:
            high = rate
            low = low if best else low / 1.5
        if best and high / low < CLOSE_ENOUGH:
            break
    return {f"udp{size}_kpps": best / 1000, f"udp{size}_flat_out_kpps": flat_out / 1000}


def udp_probe(lab, scratch, payload, rate, seconds):
    """Sends at a rate; returns datagrams offered and arrived a second, and the share that was lost."""
    udpload = str(generator(scratch))
    receiver = lab.start(lab.b.container, [udpload, "receive", "5555"], stdout=subprocess.PIPE)
    receiver.stdout.readline()
    words = [udpload, "send", lab.b.address, "5555", str(payload), str(rate), str(seconds)]
    sent, took_s = lab.a.in_container(*words).stdout.split()
    arrived = int(receiver.communicate(timeout=15)[0])
    lab.processes.remove(receiver)
    return int(sent) / float(took_s), arrived / float(took_s), 1 - arrived / max(1, int(sent))


def generator(scratch):
    """Builds the generator of UDP load once a run."""
    program = scratch / "udpload"
    if not program.exists():
        run(["cc", "-O2", "-o", str(program), str(Path(__file__).with_name("udpload.c"))])
    return program


# The first side must listen before the other calls, or its retry is measured.
BETWEEN_SIDES_S = 0.3
# Slow enough not to be a load itself.
LOADED_INTERVAL_S = 0.005
TOLERATED_LOSS = 0.01
CLOSE_ENOUGH = 1.08
