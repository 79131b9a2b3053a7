"""Installs the peers: Debian's by apt, two in Rust by cargo into a folder of their own below target/."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
CARGO_ROOT = ROOT / "target/peers"

PACKAGES = {
    "iperf3": "iperf3",
    "ping": "iputils-ping",
    "ip": "iproute2",
    "nft": "nftables",
    "ethtool": "ethtool",
    "cc": "gcc libc6-dev",
    "wg": "wireguard-tools",
    "wireguard-go": "wireguard-go",
    "nebula": "nebula",
    "tincd": "tinc",
    "fastd": "fastd",
    "openvpn": "openvpn",
    "openssl": "openssl",
}
CRATES = {"boringtun-cli": "boringtun-cli", "gotatun": "gotatun-cli"}
# Asked by Debian's maintainer scripts whether they may start a daemon: 101 = no.
POLICY = Path("/usr/sbin/policy-rc.d")


def debian():
    """Installs what is missing. A package that cannot be had is said so, and its system is left out."""
    missing = [words for command, words in PACKAGES.items() if not shutil.which(command)]
    if not missing:
        return
    packages = " ".join(missing).split()
    print(f"peers-bench: installing {' '.join(packages)}", file=sys.stderr)
    is_ours = not POLICY.exists()
    if is_ours:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        apt("update")
        if apt("install", "-y", "--no-install-recommends", *packages):
            for package in packages:
                apt("install", "-y", "--no-install-recommends", package)
    finally:
        if is_ours:
            POLICY.unlink()


def apt(*words):
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(["apt-get", "-q", *words], env=environment, stdout=sys.stderr).returncode


def cargo():
    """Builds the peers that Debian does not package, once."""
    for command, crate in CRATES.items():
        if not (CARGO_ROOT / "bin" / command).exists():
            words = ["cargo", "install", "--locked", "--root", CARGO_ROOT, "--target-dir", CARGO_ROOT / "build", crate]
            subprocess.run(words, stdout=sys.stderr, check=False)


def extend_path():
    """Puts the built peers on the path of everything that is started from here."""
    os.environ["PATH"] = f"{CARGO_ROOT / 'bin'}:{os.environ['PATH']}"
