"""The place of one measurement: two hosts on one cable, a container on each, and the processes that run there.

    container A eth0 -- bridge [host A] u0 === veth, underlay MTU === u0 [host B] bridge -- eth0 container B

Everything is a network namespace of the bench's own mount and process namespaces (see enter): the kernel removes all of
it with the bench's last process, however the bench ends.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import accounts

INSIDE = "PEERS_BENCH_INSIDE"
# What every overlay is given for its envelope; the containers' MTU is the same for all of them.
OVERHEAD_BYTES = 100
# After a start or a change, longer than anything here takes on a loaded machine.
PATIENCE_S = 20


def enter(arguments):
    """Runs this program again as the first process of namespaces that die with it, and with us. Returns its status."""
    leash = ["setpriv", "--pdeathsig", "KILL"]
    words = [*leash, "unshare", "--mount", "--pid", "--fork", "--kill-child", sys.executable, *arguments]
    bench = subprocess.Popen(words, env={**os.environ, INSIDE: "1"})

    def end(number, _):
        bench.kill()
        sys.exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    return bench.wait()


def settle_in():
    """Gives the new namespaces a /proc and a /run of their own. The machine's processes stay visible for accounting."""
    run(["mount", "-t", "tmpfs", "tmpfs", "/run"])
    accounts.MACHINE.mkdir()
    run(["mount", "--bind", "/proc", str(accounts.MACHINE)])
    run(["mount", "-t", "proc", "proc", "/proc"])
    Path("/run/netns").mkdir()
    scratch = Path("/run/peers-bench")
    scratch.mkdir()
    return scratch


class Failure(Exception):
    """A system could not be brought up or measured."""


def run(words, check=True, stdin=None, timeout=60, env=None):
    """Runs a command to its end; returns what it said."""
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=timeout, env=env)
    if check and done.returncode:
        raise Failure(f"{' '.join(words)}: status {done.returncode}: {(done.stdout + done.stderr).strip()[-600:]}")
    return done


class Side:
    """One host with its container."""

    def __init__(self, letter, number, lab):
        self.letter, self.number, self.lab = letter, number, lab
        self.host, self.container = f"{lab.name}-host{letter}", f"{lab.name}-box{letter}"
        self.underlay = f"192.168.77.{number}"
        self.tunnel = f"10.66.0.{number}"
        self.subnet = f"10.66.{number}.0/24"
        self.address = None
        self.daemon = None

    @property
    def other(self):
        return self.lab.b if self is self.lab.a else self.lab.a

    def on_host(self, *words, **more):
        return run(["ip", "netns", "exec", self.host, *words], **more)

    def in_container(self, *words, **more):
        return run(["ip", "netns", "exec", self.container, *words], **more)

    def start_daemon(self, words, env=None):
        """Starts the system's daemon: its processor time and memory are counted."""
        self.daemon = self.lab.start(self.host, words, log=f"{self.letter}.log", env=env)

    def log(self):
        path = self.lab.scratch / f"{self.letter}.log"
        return path.read_text()[-800:] if path.exists() else ""

    def wait_for_device(self, name):
        for _ in self.lab.attempts(f"{name} on host {self.letter}"):
            if self.daemon.poll() is not None:
                raise Failure(f"the daemon of host {self.letter} ended: {self.log()}")
            if run(["ip", "-n", self.host, "link", "show", name], check=False).returncode == 0:
                return

    def plug(self, address, gateway=None):
        """Makes the bridge and attaches the container with this address."""
        mtu = str(self.lab.container_mtu)
        self.address = address
        ip_host, ip_box = ["ip", "-n", self.host], ["ip", "-n", self.container]
        run([*ip_host, "link", "add", "br0", "type", "bridge", "forward_delay", "0", "stp_state", "0"])
        run([*ip_host, "link", "set", "br0", "up"])
        peer = ["peer", "name", "eth0", "netns", self.container, "mtu", mtu]
        run([*ip_host, "link", "add", "box0", "mtu", mtu, "type", "veth", *peer])
        run([*ip_host, "link", "set", "box0", "master", "br0", "up"])
        run([*ip_box, "address", "add", f"{address}/24", "dev", "eth0"])
        run([*ip_box, "link", "set", "eth0", "up"])
        if gateway:
            run([*ip_host, "address", "add", f"{gateway}/24", "dev", "br0"])
            run([*ip_box, "route", "add", "default", "via", gateway])

    def bridge_device(self, name):
        """Puts an overlay's Ethernet device into the bridge."""
        self.wait_for_device(name)
        run(["ip", "-n", self.host, "link", "set", name, "mtu", str(self.lab.container_mtu), "master", "br0", "up"])

    def route_device(self, name):
        """Gives an overlay's IP device its address and the route to the other container."""
        self.wait_for_device(name)
        ip_host = ["ip", "-n", self.host]
        run([*ip_host, "address", "add", f"{self.tunnel}/24", "dev", name])
        run([*ip_host, "link", "set", name, "mtu", str(self.lab.container_mtu), "up"])
        run([*ip_host, "route", "replace", self.other.subnet, "dev", name])


class Lab:
    """Two sides. Used as a context; everything is gone behind it."""

    count = 0

    def __init__(self, scratch, underlay_mtu):
        Lab.count += 1
        self.name = f"lab{Lab.count}"
        self.scratch = Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir=scratch))
        self.underlay_mtu, self.container_mtu = underlay_mtu, underlay_mtu - OVERHEAD_BYTES
        self.a, self.b = Side("A", 1, self), Side("B", 2, self)
        self.sides = (self.a, self.b)
        self.processes = []

    def __enter__(self):
        try:
            self.build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def build(self):
        for side in self.sides:
            for namespace in (side.host, side.container):
                run(["ip", "netns", "add", namespace])
                run(["ip", "-n", namespace, "link", "set", "lo", "up"])
                run(["ip", "netns", "exec", namespace, "sysctl", "-qw", *SYSCTLS])
        mtu = str(self.underlay_mtu)
        one = ["u0", "netns", self.a.host, "mtu", mtu]
        run(["ip", "link", "add", *one, "type", "veth", "peer", "name", "u0", "netns", self.b.host, "mtu", mtu])
        for side in self.sides:
            run(["ip", "-n", side.host, "address", "add", f"{side.underlay}/24", "dev", "u0"])
            run(["ip", "-n", side.host, "link", "set", "u0", "up"])

    def start(self, namespace, words, log=None, env=None, stdout=None):
        """Starts a process in a namespace; it ends with the lab."""
        output = open(self.scratch / log, "a") if log else subprocess.DEVNULL
        process = subprocess.Popen(
            ["ip", "netns", "exec", namespace, *words],
            stdin=subprocess.DEVNULL,
            stdout=stdout or output,
            stderr=output,
            text=True,
            env={**os.environ, **(env or {})},
        )
        self.processes.append(process)
        return process

    def daemons(self):
        return [side.daemon.pid for side in self.sides if side.daemon]

    def attempts(self, what, pause_s=0.005):
        """Yields until the caller returns from its loop, at most for PATIENCE_S."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            yield
            time.sleep(pause_s)
        raise Failure(f"{what} did not come: A: {self.a.log()} B: {self.b.log()}")

    def wait_for_ping(self):
        for _ in self.attempts("an answer to ping", pause_s=0):
            ping = ["ping", "-n", "-q", "-c", "1", "-W", "0.05", self.b.address]
            if self.a.in_container(*ping, check=False).returncode == 0:
                return

    def cut_single(self):
        """Makes the cable carry single datagrams instead of super-packets."""
        for side in self.sides:
            side.on_host("ethtool", "-K", "u0", "gso", "off", "tso", "off", "gro", "off", "tx-udp-segmentation", "off")

    def lose(self, per_myriad):
        """Drops this many of 10 000 datagrams, both ways, at the end of the cable."""
        rules = (
            "table netdev loss\ndelete table netdev loss\ntable netdev loss { chain cable { "
            f"type filter hook ingress device u0 priority 0; numgen random mod 10000 < {per_myriad} drop; }}; }}"
        )
        for side in self.sides:
            side.on_host("nft", "-f", "-", stdin=rules)

    def close(self):
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(2)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for side in self.sides:
            for namespace in (side.host, side.container):
                run(["ip", "netns", "delete", namespace], check=False)


# No IPv6: what is measured has no company of neighbour discovery and multicast reports.
SYSCTLS = (
    "net.ipv4.ip_forward=1",
    "net.ipv4.conf.all.rp_filter=0",
    "net.ipv4.conf.default.rp_filter=0",
    "net.ipv6.conf.all.disable_ipv6=1",
    "net.ipv6.conf.default.disable_ipv6=1",
)
