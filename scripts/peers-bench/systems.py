"""What is measured: the cable itself, the kernel's VXLAN, Raddle, and which of its peers.

A system prepares what its start takes for granted (keys, containers), then starts side B and, timed, side A.
"""

import json
import shutil
from pathlib import Path

import peers
from lab import Failure, run

ROOT = Path(__file__).resolve().parent.parent.parent


class System:
    """One way to connect two containers."""

    name = ""
    # Whether it is a user-space overlay that encrypts, and so one Raddle is compared with.
    is_encrypted_peer = False
    largest_underlay_mtu = 9000
    commands = ()

    def missing(self):
        return [command for command in self.commands if not shutil.which(command)]

    def prepare(self, lab):
        lab.a.plug("10.66.0.11")
        lab.b.plug("10.66.0.12")

    def start(self, side):
        raise NotImplementedError


class Raw(System):
    """The containers on the cable, nothing between."""

    name = "raw"

    def prepare(self, lab):
        lab.container_mtu = lab.underlay_mtu
        for side in lab.sides:
            side.plug(f"192.168.77.{10 + side.number}")
            run(["ip", "-n", side.host, "address", "flush", "dev", "u0"])
            run(["ip", "-n", side.host, "link", "set", "u0", "master", "br0"])

    def start(self, side):
        pass


class Vxlan(System):
    """The kernel's VXLAN, in the clear."""

    name = "vxlan"

    def start(self, side):
        ends = ["local", side.underlay, "remote", side.other.underlay]
        vxlan = ["type", "vxlan", "id", "42", *ends, "dstport", "4789", "dev", "u0"]
        run(["ip", "-n", side.host, "link", "add", "vx0", *vxlan])
        mtu = str(side.lab.container_mtu)
        run(["ip", "-n", side.host, "link", "set", "vx0", "mtu", mtu, "master", "br0", "up"])


class Raddle(System):
    """Raddle by its documented commands, the containers attached by its CNI plugin with what it chooses itself."""

    def __init__(self, name, binaries, *flags):
        self.name, self.flags = name, flags
        self.raddle, self.plugin = str(binaries / "raddle"), str(binaries / "raddle-cni")

    def missing(self):
        wanting = [path for path in (self.raddle, self.plugin) if not Path(path).exists()]
        if wanting:
            return wanting
        known = run([self.raddle, "router", "--help"]).stdout
        return [f"`raddle router {flag}`" for flag in self.flags if flag.startswith("--") and flag not in known]

    def prepare(self, lab):
        self.command(lab.b, "init", "--name", "hostB")
        self.start(lab.b)
        token = self.command(lab.b, "token", "create").stdout.strip()
        self.command(lab.a, "join", "--name", "hostA", token, lab.b.underlay)

    def start(self, side):
        """Runs the router and attaches the container: for side A both are in the time to the first ping."""
        if side.daemon:
            return
        side.start_daemon([self.raddle, "router", *self.flags], env=self.environment(side))
        for _ in side.lab.attempts("the router"):
            if side.daemon.poll() is not None:
                raise Failure(f"the router of host {side.letter} ended: {side.log()}")
            if (self.directory(side) / "control.sock").exists():
                break
        self.attach(side)

    def attach(self, side):
        environment = {
            **self.environment(side),
            "CNI_COMMAND": "ADD",
            "CNI_CONTAINERID": side.container,
            "CNI_NETNS": f"/run/netns/{side.container}",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": str(Path(self.plugin).parent),
        }
        network = json.dumps({"cniVersion": "1.0.0", "name": "bench", "type": "raddle-cni"})
        for _ in side.lab.attempts("an address"):
            done = side.on_host(self.plugin, stdin=network, env=environment, check=False)
            answer = json.loads(done.stdout)
            if done.returncode == 0:
                side.address = answer["ips"][0]["address"].split("/")[0]
                return
            if answer["code"] != TRY_AGAIN:
                raise Failure(f"raddle-cni: {answer}")

    def command(self, side, *words):
        return side.on_host(self.raddle, *words, env=self.environment(side))

    def environment(self, side):
        directory = self.directory(side)
        places = {"RADDLE_DATA_DIR": directory / "data", "RADDLE_CONTROL_SOCKET": directory / "control.sock"}
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **{name: str(path) for name, path in places.items()}}

    def directory(self, side):
        directory = side.lab.scratch / f"raddle-{side.letter}"
        directory.mkdir(exist_ok=True)
        return directory


# CNI's code for "not now".
TRY_AGAIN = 11


def catalogue(scratch):
    """Every system by its name, in the order of the tables. Raddle's binaries are copied: a build may go on beside."""
    binaries = scratch / "bin"
    binaries.mkdir()
    for name in ("raddle", "raddle-cni"):
        built = ROOT / "target/release" / name
        if built.exists():
            shutil.copy2(built, binaries)
    systems = [
        Raw(),
        Vxlan(),
        Raddle("raddle", binaries),
        Raddle("raddle-chacha", binaries, "--cipher", "chacha20-poly1305"),
        Raddle("raddle-1-queue", binaries, "--queues", "1"),
        *peers.catalogue(scratch),
    ]
    return {system.name: system for system in systems}


DEBIAN = ("raw", "vxlan", "raddle", "raddle-chacha", "wireguard-go", "nebula", "tinc", "fastd", "openvpn")
CARGO = ("boringtun", "gotatun")
