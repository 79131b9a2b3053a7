"""What each technique of Raddle's data path is worth: the same measurement with one of them taken away.

Techniques are taken away from outside, by a flag of the router or by what the kernel offers it, never by another build.
"""

from dataclasses import dataclass
from typing import Callable

import accounts
import measures
from lab import Lab

CUT = ("gso", "off", "tso", "off", "tx-udp-segmentation", "off")


def nothing(_):
    pass


def uncoalesced_underlay(lab):
    lab.cut_single()


def cut_underlay(lab):
    for side in lab.sides:
        side.on_host("ethtool", "-K", "u0", *CUT, "gro", "on")


def no_super_frames(lab):
    for side in lab.sides:
        side.in_container("ethtool", "-K", "eth0", *CUT)


def no_offloads(lab):
    uncoalesced_underlay(lab)
    no_super_frames(lab)


@dataclass
class Ablation:
    """One row: which router, and what is done to its surroundings once it runs."""

    name: str
    system: str
    change: Callable
    underlay_mtu: int = 1500


ABLATIONS = [
    Ablation("as it is", "raddle", nothing),
    Ablation("ChaCha20-Poly1305", "raddle-chacha", nothing),
    Ablation("one queue", "raddle-1-queue", nothing),
    Ablation("underlay cuts super-packets, GRO joins them", "raddle", cut_underlay),
    Ablation("underlay cuts super-packets, no GRO", "raddle", uncoalesced_underlay),
    Ablation("containers send no super-frames", "raddle", no_super_frames),
    Ablation("neither: a packet a system call", "raddle", no_offloads),
    Ablation("underlay of 9000 bytes", "raddle", nothing, 9000),
]


def measure(ablation, system, scratch, depth):
    figures = {}
    with Lab(scratch, ablation.underlay_mtu) as lab:
        foreign = accounts.Foreign()
        measures.bring_up(system, lab)
        ablation.change(lab)
        measures.serve(lab)
        figures.update(measures.ping_figures("ping", measures.ping(lab, depth.pings, 0.001)))
        measures.warm(lab, depth)
        figures.update(measures.tcp_figures("tcp1", measures.tcp(lab, depth.tcp_s)))
        figures.update(measures.tcp_figures("tcp4", measures.tcp(lab, depth.tcp_s, "--parallel", "4")))
        figures["foreign_cores"] = foreign.cores()
    return figures
