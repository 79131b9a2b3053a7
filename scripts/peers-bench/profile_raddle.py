"""Where both routers spend their time under one TCP stream, by what the time is for. Needs perf (Debian: linux-perf)."""

import re
import subprocess

import measures
from lab import Failure, Lab, run

# In order: the first class of which a frame of the stack matches. Kernel stacks are whole, user stacks one frame deep.
CLASSES = [
    ("interrupts", r"asm_sysvec|asm_common_interrupt"),
    ("tap write: bridge, veth, the container's TCP", (r"tun_chr_write_iter", r"netif_receive_skb|do_softirq|napi")),
    ("tap write: copying and the device", r"tun_chr_write_iter"),
    ("tap read", r"tun_chr_read_iter"),
    ("UDP send: underlay and the other router's socket", (r"sendmmsg", r"__dev_queue_xmit|do_softirq")),
    ("UDP send: copying and the socket", r"sendmmsg|sendmsg"),
    ("UDP receive", r"recvmmsg|recvmsg"),
    ("waiting: poll, sleep, wake-up", r"sys_p?poll|epoll|schedule|finish_task_switch"),
    ("seal", r"encrypt|seal|poly1305_.*seal"),
    ("open", r"decrypt|Opener|::open|aead.*_open"),
    ("either: hash and counter of the AEAD", r"aws_lc|gcm|chacha|poly1305|init_IV|CRYPTO_"),
    ("copying in the router", r"mem(cpy|move|set)"),
    ("other system calls", r"do_syscall_64"),
]
REST = "the router's own code"
SAMPLES_PER_SECOND = 1999


def profile(system, scratch, depth):
    """Shares of all samples by class, and the hottest symbols."""
    with Lab(scratch, 1500) as lab:
        measures.bring_up(system, lab)
        measures.serve(lab)
        measures.warm(lab, depth)
        lab.start(lab.a.container, ["iperf3", "--client", lab.b.address, "--time", str(depth.tcp_s + 2)])
        pids = ",".join(map(str, lab.daemons()))
        record = ["perf", "record", "-F", str(SAMPLES_PER_SECOND), "-e", "cpu-clock", "-g", "-p", pids]
        run([*record, "-o", str(lab.scratch / "perf.data"), "--", "sleep", str(depth.tcp_s)])
        stacks = read_stacks(lab.scratch / "perf.data")
    if not stacks:
        raise Failure("perf has taken no samples")
    return {"samples": len(stacks), "classes": shares(map(class_of, stacks)), "symbols": shares(map(leaf_of, stacks))}


def read_stacks(data):
    """Each sample as its symbols, the innermost first."""
    words = ["perf", "script", "-i", str(data), "-F", "ip,sym"]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    stacks = [block.split("\n") for block in said.split("\n\n")]
    symbols = [[frame.split(maxsplit=1)[-1] for frame in stack if frame.strip()] for stack in stacks]
    return [stack for stack in symbols if stack]


def class_of(stack):
    text = "\n".join(stack)
    for name, patterns in CLASSES:
        patterns = patterns if isinstance(patterns, tuple) else (patterns,)
        if all(re.search(pattern, text) for pattern in patterns):
            return name
    return REST


def leaf_of(stack):
    return stack[0]


def shares(names):
    counts = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    total = sum(counts.values())
    return {name: count / total for name, count in sorted(counts.items(), key=lambda item: -item[1])}


def table(result):
    lines = ["", f"### Profile: {result['samples']} samples of both routers", "", "| | share |", "|---|---|"]
    lines += [f"| {name} | {share:.1%} |" for name, share in result["classes"].items()]
    lines += ["", "| hottest symbols | share |", "|---|---|"]
    lines += [f"| `{name}` | {share:.1%} |" for name, share in list(result["symbols"].items())[:20]]
    return "\n".join(lines)
