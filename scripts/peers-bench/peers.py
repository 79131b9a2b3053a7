"""The encrypted user-space overlays Raddle is compared with, each set up as its documentation says for speed."""

import re
import shutil

from lab import run


class Peer:
    """A peer keeps its keys for the whole run."""

    is_encrypted_peer = True
    largest_underlay_mtu = 9000
    commands = ()

    def __init__(self, name, scratch):
        self.name = name
        self.directory = scratch / f"peer-{name}"
        self.kept = None

    def missing(self):
        return [command for command in self.commands if not shutil.which(command)]

    def keys(self):
        if self.kept is None:
            self.directory.mkdir(exist_ok=True)
            self.kept = self.make_keys()
        return self.kept

    def write(self, name, text):
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)
        return str(path)


class Bridged(Peer):
    """An overlay that carries Ethernet: its device is a port of the containers' bridge."""

    def prepare(self, lab):
        self.keys()
        lab.a.plug("10.66.0.11")
        lab.b.plug("10.66.0.12")


class Routed(Peer):
    """An overlay that carries IP: the hosts route between the containers' networks."""

    def prepare(self, lab):
        self.keys()
        for side in lab.sides:
            side.plug(f"10.66.{side.number}.2", gateway=f"10.66.{side.number}.1")


class WireGuard(Routed):
    """A user-space WireGuard, by its interface to wg(8)."""

    def __init__(self, name, scratch, words):
        super().__init__(name, scratch)
        self.words = words
        self.commands = ("wg", words[0])

    def make_keys(self):
        secrets = {letter: run(["wg", "genkey"]).stdout.strip() for letter in "AB"}
        return {letter: (key, run(["wg", "pubkey"], stdin=key).stdout.strip()) for letter, key in secrets.items()}

    def start(self, side):
        # Its socket has the name of the device in a directory all namespaces share.
        device = f"{side.lab.name}{side.letter.lower()}"
        side.start_daemon([*self.words, device], env={"LOG_LEVEL": "error", "WG_PROCESS_FOREGROUND": "1"})
        side.wait_for_device(device)
        configuration = self.write(f"{side.letter}.conf", self.configuration(side))
        for _ in side.lab.attempts("wg setconf"):
            if side.on_host("wg", "setconf", device, configuration, check=False).returncode == 0:
                break
        side.route_device(device)

    def configuration(self, side):
        other = side.other
        return (
            f"[Interface]\nPrivateKey={self.keys()[side.letter][0]}\nListenPort=51820\n"
            f"[Peer]\nPublicKey={self.keys()[other.letter][1]}\nEndpoint={other.underlay}:51820\n"
            f"AllowedIPs={other.tunnel}/32,{other.subnet}\n"
        )


class Nebula(Routed):
    """AES-256-GCM, the container networks as unsafe routes."""

    commands = ("nebula", "nebula-cert")

    def make_keys(self):
        authority = ["-ca-crt", f"{self.directory}/ca.crt", "-ca-key", f"{self.directory}/ca.key"]
        out = ["-out-crt", f"{self.directory}/ca.crt", "-out-key", f"{self.directory}/ca.key"]
        run(["nebula-cert", "ca", "-name", "bench", *out])
        for letter, number in (("A", 1), ("B", 2)):
            place = ["-ip", f"10.66.0.{number}/24", "-subnets", f"10.66.{number}.0/24"]
            out = ["-out-crt", f"{self.directory}/{letter}.crt", "-out-key", f"{self.directory}/{letter}.key"]
            run(["nebula-cert", "sign", "-name", letter, *place, *authority, *out])
        return True

    def start(self, side):
        side.start_daemon(["nebula", "-config", self.write(f"{side.letter}.yml", self.configuration(side))])
        side.wait_for_device("neb0")

    def configuration(self, side):
        other, directory, mtu = side.other, self.directory, side.lab.container_mtu
        is_lighthouse = side.letter == "B"
        route = f"{{route: {other.subnet}, via: {other.tunnel}, mtu: {mtu}}}"
        anyone = "[{port: any, proto: any, host: any}]"
        buffers = "read_buffer: 8388608, write_buffer: 8388608"
        return (
            f"pki: {{ca: {directory}/ca.crt, cert: {directory}/{side.letter}.crt, key: {directory}/{side.letter}.key}}\n"
            f'static_host_map: {{"{other.tunnel}": ["{other.underlay}:4242"]}}\n'
            f"lighthouse: {{am_lighthouse: {str(is_lighthouse).lower()}, interval: 60,"
            f" hosts: [{'' if is_lighthouse else repr(other.tunnel)}]}}\n"
            f"listen: {{host: {side.underlay}, port: 4242, {buffers}}}\n"
            "cipher: aes\npunchy: {punch: false}\nlogging: {level: error, format: text}\n"
            f"tun: {{disabled: false, dev: neb0, mtu: {mtu}, tx_queue: 500, unsafe_routes: [{route}]}}\n"
            f"firewall: {{outbound: {anyone}, inbound: {anyone}}}\n"
        )


class Tinc(Bridged):
    """The legacy protocol of 1.0 in switch mode, AES-256-CBC with SHA-256."""

    commands = ("tincd",)
    # Jumbo frames are an option of its build, and not in the default one.
    largest_underlay_mtu = 1500

    def make_keys(self):
        for letter, number in (("A", 1), ("B", 2)):
            calls = "ConnectTo = nB\n" if letter == "A" else ""
            main = f"Name = n{letter}\nMode = switch\nDeviceType = tap\nInterface = tinc0\nAddressFamily = ipv4\n"
            self.write(f"{letter}/tinc.conf", f"{main}DirectOnly = yes\n{calls}")
            cipher = "Cipher = aes-256-cbc\nDigest = sha256\nMACLength = 16\nCompression = 0\n"
            self.write(f"{letter}/hosts/n{letter}", f"Address = 192.168.77.{number}\n{cipher}")
            run(["tincd", "-c", f"{self.directory}/{letter}", "-K2048"], stdin="\n\n")
        for own, other in ("AB", "BA"):
            shutil.copy(f"{self.directory}/{other}/hosts/n{other}", f"{self.directory}/{own}/hosts/n{other}")
        return True

    def start(self, side):
        directory = f"{self.directory}/{side.letter}"
        side.start_daemon(["tincd", "-c", directory, "-D", f"--pidfile={side.lab.scratch}/tinc{side.letter}.pid"])
        side.bridge_device("tinc0")


class Fastd(Bridged):
    """One of fastd's methods over a tap."""

    commands = ("fastd",)

    def __init__(self, name, scratch, method):
        super().__init__(name, scratch)
        self.method = method

    def make_keys(self):
        made = {letter: run(["fastd", "--generate-key"]).stdout for letter in "AB"}
        both = re.compile(r"Secret: (\w+)\s+Public: (\w+)")
        return {letter: both.search(text).groups() for letter, text in made.items()}

    def start(self, side):
        other = side.other
        configuration = (
            f'log level error;\ninterface "fd0";\nmode tap;\nmethod "{self.method}";\nmtu {side.lab.container_mtu};\n'
            f'bind {side.underlay}:10000;\nsecret "{self.keys()[side.letter][0]}";\n'
            f'peer "other" {{ key "{self.keys()[other.letter][1]}"; remote ipv4 {other.underlay} port 10000; }}\n'
        )
        side.start_daemon(["fastd", "-c", self.write(f"{side.letter}.conf", configuration)])
        side.bridge_device("fd0")


class OpenVpn(Bridged):
    """Point to point over a tap in user space, AES-256-GCM."""

    commands = ("openvpn", "openssl")

    def make_keys(self):
        prints = {}
        for letter in "AB":
            key, certificate = f"{self.directory}/{letter}.key", f"{self.directory}/{letter}.crt"
            curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
            out = ["-keyout", key, "-out", certificate, "-days", "30", "-subj", f"/CN={letter}"]
            run(["openssl", "req", "-x509", *curve, *out])
            shown = run(["openssl", "x509", "-in", certificate, "-noout", "-fingerprint", "-sha256"]).stdout
            prints[letter] = shown.strip().split("=")[1]
        return prints

    def start(self, side):
        other = side.other
        ends = ["--local", side.underlay, "--lport", "1194", "--remote", other.underlay, "1194"]
        role = ["--tls-client"] if side.letter == "A" else ["--tls-server", "--dh", "none"]
        files = ["--cert", f"{self.directory}/{side.letter}.crt", "--key", f"{self.directory}/{side.letter}.key"]
        trust = ["--peer-fingerprint", self.keys()[other.letter]]
        cipher = ["--data-ciphers", "AES-256-GCM", "--cipher", "AES-256-GCM"]
        size = ["--tun-mtu", str(side.lab.container_mtu), "--mssfix", "0", "--txqueuelen", "1000"]
        buffers = ["--sndbuf", "4194304", "--rcvbuf", "4194304", "--keepalive", "10", "60", "--verb", "1"]
        device = ["--dev", "ov0", "--dev-type", "tap", "--proto", "udp4"]
        side.start_daemon(["openvpn", *device, *ends, *role, *files, *trust, *cipher, *size, *buffers])
        side.bridge_device("ov0")


def catalogue(scratch):
    return [
        WireGuard("wireguard-go", scratch, ["wireguard-go", "-f"]),
        WireGuard("boringtun", scratch, ["boringtun-cli", "-f", "--disable-drop-privileges", "-t", "1"]),
        WireGuard("gotatun", scratch, ["gotatun", "-f", "--disable-drop-privileges", "-v", "error"]),
        Nebula("nebula", scratch),
        Tinc("tinc", scratch),
        Fastd("fastd", scratch, "salsa2012+umac"),
        Fastd("fastd-aes128gcm", scratch, "aes128-gcm"),
        OpenVpn("openvpn", scratch),
    ]
